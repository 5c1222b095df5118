"""The glossary explains what a report shows, and nothing else."""

import pytest

from recognition.report.glossary import COMPARED, GROUPS, TERMS, glossary_for


def terms(*targets):
    return {term.term for term in glossary_for(list(targets))}


def target(kind, comparisons=(), **facts):
    return {"kind": kind, "outcomes": [{}, facts], "comparisons": comparisons}


@pytest.mark.parametrize(
    ("kind", "among", "not_among"),
    [
        (
            "pairs",
            ["Accuracy", "AUC", "EER (equal error rate)", "TAR at FAR", "DET curve", "XNorm"],
            ["Template", "All-to-all"],
        ),
        ("templates", ["Template", "TAR at FAR"], ["Accuracy", "Rank and CMC"]),
        ("identification", ["Rank and CMC", "FPIR (false positive identification rate)"], ["AUC", "DET curve"]),
        ("all_to_all", ["All-to-all", "DET curve"], ["Accuracy", "Template"]),
        ("novel", ["95 % interval"], ["Accuracy", "Template", "Rank and CMC"]),
    ],
)
def test_the_terms_are_those_of_the_kind(kind, among, not_among):
    assert terms(target(kind)) >= {"95 % interval", *among}
    assert not terms(target(kind)) & set(not_among)


def test_comparisons_groups_and_a_1_to_n_part_bring_their_own():
    plain = terms(target("templates"))
    groups, compared = ({term.term for term in some} for some in (GROUPS, COMPARED))
    assert not plain & (groups | compared)
    assert terms(target("templates", groups=[{"group": "a"}])) - plain == groups
    assert terms(target("templates", comparisons=[{"metric": "eer"}])) - plain == compared
    assert "Rank and CMC" in terms(target("templates", identification={"ranks": {}})) - plain


def test_a_report_without_targets_explains_all_kinds():
    assert terms() == {term.term for term in TERMS}
