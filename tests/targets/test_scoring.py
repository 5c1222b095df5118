"""Every model on every target: what is looked at before the work, what is told, and by whom."""

import dataclasses

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.opening import open_targets
from recognition.targets.scoring import require_all_scored, score_all
from recognition.targets.target import Options, Scored
from recognition.verification.pairs import load_pairs
from tests.ranks import run_ranks
from tests.verification.synthetic import pair_file


def model_of(cells, size=None, seen=None):
    def embed(x_BCHW):
        if seen is not None:
            seen.append(len(x_BCHW))
        return torch.nn.functional.avg_pool2d(x_BCHW, cells).flatten(1) + 0.02

    return Embedder(embed, size, {"file": f"{cells}.onnx"})


@pytest.fixture
def paths(tmp_path):
    return [str(pair_file(tmp_path / f"{size}.bin", num_pairs=20, size=size)) for size in (16, 24)]


def test_sizes_are_compared_before_any_picture_is_embedded(paths):
    seen = []
    models = [model_of(4, None, seen), model_of(4, (16, 16), seen)]
    with pytest.raises(InputError, match="24 has pictures of 24x24 pixels, but 4.onnx takes 16x16"):
        list(score_all(open_targets(paths, Options(replicates=0)), models, ["a", "b"], runtime=Runtime()))
    assert seen == []


def test_each_model_has_its_outcome_on_each_target_and_what_differs_is_told(paths, capfd):
    targets, models = open_targets(paths, Options(replicates=20)), [model_of(4), model_of(8)]
    scored = list(score_all(targets, models, ["fine", "coarse"], runtime=Runtime(), batch_size=8))
    assert [entry.target.name for entry in scored] == ["16", "24"]
    for entry in scored:
        for model, outcome in zip(models, entry.outcomes):
            alone = entry.target.score(model, runtime=Runtime(), batch_size=8)
            np.testing.assert_array_equal(outcome.result.distances_P, alone.result.distances_P)
    lines = [line for line in capfd.readouterr().out.splitlines() if ": warning: " not in line]
    entries = [targets[place].compare(scored[place].outcomes) for place in (0, 1)]
    assert [line.partition(": ")[0] for line in lines] == [
        f"{name}, {who}"
        for name, compared in zip(("16", "24"), entries)
        for who in ("fine", "coarse", *["fine less coarse"] * len(compared))
    ]
    entry = entries[0][1]
    assert (entry["metric"], entry["method"]) == ("auc", "paired bootstrap")
    assert lines[3] == (
        f"16, fine less coarse: auc {entry['difference']:+.4f} ({entry['low']:+.4f} to {entry['high']:+.4f}), "
        f"p {entry['p_adjusted']:.2g}: {entry['verdict']}"
    )


def told_on_rank(runtime, path):
    told = []
    patch = pytest.MonkeyPatch()
    patch.setattr("builtins.print", lambda *words, **_: told.append(words))
    try:
        targets, models = open_targets([path], Options(replicates=9)), [model_of(4), model_of(8)]
        list(score_all(targets, models, ["a", "b"], runtime=runtime))
    finally:
        patch.undo()
    return len(told)


def test_one_rank_talks(paths):
    first, second = run_ranks(told_on_rank, 2, paths[0])
    assert (first > 2, second) == (True, 0)


def test_one_model_is_called_by_nothing_but_the_target(paths, capfd):
    list(score_all(open_targets(paths[:1], Options(replicates=0)), [model_of(4)], ["fine"], runtime=Runtime()))
    assert capfd.readouterr().out.startswith("16: accuracy ")


def with_nan(x_BCHW):
    """NaN for pictures whose first pixel is bright."""
    emb_BD = torch.nn.functional.avg_pool2d(x_BCHW, 4).flatten(1) + 0.02
    return torch.where(x_BCHW[:, :1, 0, 0] > 0, torch.nan, emb_BD)


def test_a_model_that_gives_nan_is_named_and_the_others_go_on(paths, capfd):
    models = [Embedder(with_nan, None, {"file": "nan.onnx"}), model_of(4), model_of(8)]
    names = ["broken", "fine", "coarse"]
    targets = open_targets(paths, Options(replicates=20))
    scored = list(score_all(targets, models, names, runtime=Runtime(), batch_size=8))
    out = capfd.readouterr().out
    for entry in scored:
        images = np.stack([entry.target.picture(index) for index in range(len(entry.target.pairs.images))])
        bright = (images[:, 0, [0, -1], 0] > 127).any(axis=1).sum()
        (failed,) = entry.failed
        assert (failed.model, failed.finding.name, entry.models) == (0, "nan", [1, 2])
        assert failed.reason.startswith(f"{bright} of {len(images)} embeddings are NaN or infinite, those of pictures ")
        assert f"{entry.target.name}, broken: no figures: {failed.reason}" in out
        alone = entry.target.score(model_of(4), runtime=Runtime(), batch_size=8)
        np.testing.assert_array_equal(entry.outcomes[0].result.distances_P, alone.result.distances_P)
        assert f"{entry.target.name}, fine less coarse: auc " in out
    with pytest.raises(InputError, match=r"no figures of broken on 16 \(and 1 more\): \d+ of 40 embeddings are NaN"):
        require_all_scored(scored, names)
    require_all_scored([Scored(scored[0].target, scored[0].outcomes)], names)


class Torn:
    """Pictures of which the last cannot be read any more."""

    def __init__(self, images):
        self.images, self.size = images, images.shape[1:3]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index == len(self) - 1:
            raise InputError("photo 39 is gone")
        return self.images[index]


def torn_on_rank(runtime, path):
    targets = open_targets(path, Options(replicates=0))
    pairs = targets[0].pairs
    targets[0].pairs = dataclasses.replace(pairs, images=Torn(load_pairs(path[0]).images))
    scored = list(score_all(targets, [model_of(4)], ["fine"], runtime=runtime, batch_size=8))
    return [(len(entry.outcomes), [each.reason for each in entry.failed]) for entry in scored]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_picture_that_one_rank_cannot_read_is_told_by_all_and_the_next_target_goes_on(paths, world):
    for told in run_ranks(torn_on_rank, world, paths):
        assert told == [(0, ["photo 39 is gone"]), (1, [])]


def test_what_ends_the_work_loses_nothing_that_was_scored(paths, monkeypatch, capfd):
    """An error that nobody foresaw, in the first comparison of two models and in the second model of the first set."""
    targets, models = open_targets(paths, Options(replicates=0)), [model_of(4), model_of(8)]

    def broken(x_BCHW):
        raise MemoryError("no room")

    scored = []
    with pytest.raises(MemoryError, match="no room"):
        scored.extend(score_all(targets, [models[0], Embedder(broken, None, {})], ["a", "b"], runtime=Runtime()))
    reason = "the command ended before (MemoryError: no room)"
    assert [(entry.target.name, entry.models) for entry in scored] == [("16", [0]), ("24", [])]
    assert [[each.reason for each in entry.failed] for entry in scored] == [[reason], [reason, reason]]
    assert f"24, a: no figures: {reason}\n" in capfd.readouterr().out

    monkeypatch.setattr(targets[0], "compare", broken)
    scored = []
    with pytest.raises(MemoryError):
        scored.extend(score_all(targets, models, ["a", "b"], runtime=Runtime()))
    assert [(entry.target.name, entry.models) for entry in scored] == [("16", [0, 1])]
