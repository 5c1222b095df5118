"""What each figure of a report means, for a reader who meets it for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PAIRS, TEMPLATES, IDENTIFICATION, ALL = "pairs", "templates", "identification", "all_to_all"
OF_PAIRS = (PAIRS, TEMPLATES, ALL)


@dataclass(frozen=True)
class Term:
    """A term, its meaning, and the kinds of targets whose figures it is among; (): of any."""

    term: str
    meaning: str
    kinds: tuple[str, ...] = ()


TERMS = (
    Term(
        "Accuracy",
        "Share of pairs judged rightly, same person or not. The pairs are cut into ten folds in the order of "
        "the file; each fold is judged with the threshold that is best on the other nine, so no pair helps to "
        "choose its own threshold. The standard deviation is that over the folds. Guessing gives 50 % when both kinds "
        "are equally many.",
        (PAIRS,),
    ),
    Term(
        "95 % interval",
        "Where the true figure, that of endlessly many pictures of the same kind, most likely lies: intervals that are "
        "made in this way hold it in about 95 of 100 cases. They speak of chance in the choice of pictures alone, not "
        "of other cameras, other people or another light. Figures whose intervals overlap widely may well be equal.",
    ),
    Term(
        "Intervals of pairs",
        "The pairs, or the people on them where the set says who they are, are weighted anew many times, and every "
        "threshold is chosen anew (Bayesian bootstrap). One pair or person of each kind that was not seen is added, "
        "for the low end as bad as can be, for the high end as good as can be; so no set is taken for perfect, and "
        "intervals hold the true figure in 95 of 100 cases or more. That holds for what is independent: pairs of the "
        "same few people are not, and where it is not known who they are the intervals are too narrow for other "
        "people. A TAR whose interval begins at 0 rests on so few different pairs that they cannot bound it from "
        "below.",
        (PAIRS,),
    ),
    Term(
        "AUC",
        "Probability that a random same-person pair is more alike than a random different-person pair. It "
        "needs no threshold: 0.5 is guessing, 1 is perfect.",
        OF_PAIRS,
    ),
    Term(
        "EER (equal error rate)",
        "Error rate at the threshold where as many different pairs are let in as same-person pairs are "
        "missed, both as shares of their kind. Lower is better.",
        OF_PAIRS,
    ),
    Term(
        "TAR at FAR",
        "True accept rate at a false accept rate: the share of same-person pairs accepted by the most generous "
        "threshold that lets in no more than the given share of different pairs. This is the figure for a door or "
        "a phone. A dash means that the set has too few different pairs to say: FAR 0.1 % needs at least 1,000 of "
        "them. Where fewer than ten different pairs decide the threshold the number stands, but says so.",
        OF_PAIRS,
    ),
    Term(
        "Genuine and impostor pairs",
        "A genuine pair shows one person twice, an impostor pair two different people. False accepts can only be "
        "seen on impostor pairs, false rejects (FRR, 1 - TAR) only on genuine ones.",
        OF_PAIRS,
    ),
    Term(
        "DET curve",
        "Detection error trade-off: the share of genuine pairs missed over the share of impostor pairs let in. "
        "Both axes are stretched as the deviate of a normal distribution, so that one in a million can be read as "
        "well as one in ten; scores that are normally distributed give a straight line. Closer to the lower left "
        "is better.",
        OF_PAIRS,
    ),
    Term(
        "As published",
        "Published figures of IJB-B and IJB-C take the point of the ROC that lies nearest to a FAR, even where it "
        "lets in more than that. They are given to compare with papers; TAR at FAR never lets in more than it "
        "says.",
        (TEMPLATES,),
    ),
    Term(
        "Template",
        "All that is known of one person's face in one place: several pictures and video frames put together into one "
        "embedding. IJB-B and IJB-C compare templates, not pictures.",
        (TEMPLATES,),
    ),
    Term(
        "All-to-all",
        "Every picture of a set is compared with every other one. A set of 100,000 pictures gives 5 billion pairs, "
        "enough impostors to speak of false accept rates below one in a million, which pair lists are too short for.",
        (ALL,),
    ),
    Term(
        "Gallery, probe, mated",
        "The gallery holds the people who are known (enrolled); a probe is a picture to be named. A mated probe is "
        "of an enrolled person, a non-mated one of a stranger. Distractors are pictures in the gallery of whom "
        "there is no probe.",
        (IDENTIFICATION,),
    ),
    Term(
        "Rank and CMC",
        "Found at rank 1: the right person is the most alike of the whole gallery; within rank 5: among the first "
        "five. The CMC (cumulative match characteristic) is the share found for each rank. Every probe is taken to "
        "be of an enrolled person, so it says nothing about strangers. The larger the gallery the harder it is.",
        (IDENTIFICATION,),
    ),
    Term(
        "FPIR (false positive identification rate)",
        "Share of probes of strangers for whom the gallery gives anyone at all, at a threshold. It grows with the "
        "gallery.",
        (IDENTIFICATION,),
    ),
    Term(
        "DIR (detection and identification rate)",
        "Share of probes of enrolled people who are found at rank 1 and above the threshold, at the threshold that "
        "takes no more than the given share of strangers for someone. This is the figure for a watch list or a "
        "door with many users. 1 - DIR is the FNIR. A dash means that there are too few probes of strangers to "
        "say.",
        (IDENTIFICATION,),
    ),
    Term(
        "XNorm",
        "Mean length of the embeddings before they are normalised. It says nothing about quality by itself; a "
        "value that grows or shrinks steadily during training is an early sign of divergence or collapse.",
        OF_PAIRS,
    ),
    Term(
        "Distance, cosine and threshold",
        "Embeddings are summed over a picture and its mirror image and scaled to length 1. The squared "
        "distance d between two of them lies between 0 (alike) and 4; the cosine similarity is 1 - d / 2. A "
        "pair counts as one person when d is below the threshold; that of a pair set as a whole is the mean of its ten "
        "folds' thresholds. A threshold holds for the model it was measured with, and for no other.",
    ),
)
COMPARED = (
    Term(
        "Difference, p and McNemar's test",
        "Two models judge the same pictures, so they are compared picture by picture. McNemar's test counts the "
        "pairs that only one of the two judges rightly: were both equally good, these would fall to either side "
        "like a coin. p is the probability of a split at least as uneven by chance alone. The paired bootstrap "
        "weights the pairs anew many times, the same for both models, and sees how the difference varies. A difference "
        "in accuracy has to convince both tests, and p is the larger one: McNemar's does not know that thresholds were "
        "chosen on the same pairs. Where people are weighted, whose pairs stand and fall together, the bootstrap alone "
        "is asked. Of many comparisons some look real by chance; the corrected p (Holm) makes up for that. Below 0.05 "
        "a difference is usually taken for real.",
    ),
)
GROUPS = (
    Term(
        "Groups, FMR and FNMR",
        "The same threshold for everyone, judged for each group by itself. FMR (false match rate) is the share of "
        "a group's impostor pairs accepted, FNMR (false non-match rate) the share of its genuine pairs missed. A "
        "system can be good on the whole and bad for a group; wide intervals mean that a group has too few pairs "
        "to say.",
    ),
)


def glossary_for(targets: Sequence[dict[str, Any]]) -> list[Term]:
    """The terms that a report of these targets needs, in the order of TERMS; all of them where there are none."""
    kinds = {target["kind"] for target in targets}
    outcomes = [outcome for target in targets for outcome in target["outcomes"]]
    if any(outcome.get("identification") for outcome in outcomes):
        kinds.add(IDENTIFICATION)
    terms = [term for term in TERMS if not term.kinds or not kinds or kinds & set(term.kinds)]
    compared = COMPARED if any(target["comparisons"] for target in targets) else ()
    grouped = GROUPS if any(outcome.get("groups") for outcome in outcomes) else ()
    return [*terms, *compared, *grouped]
