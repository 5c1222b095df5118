"""Which samples of a batch a face loss is about, and what is said and counted of those that it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from recognition.errors import InputError
from recognition.log import LOG

# What the data set calls pictures whose face is to be that of the reference.
FACE_DATA_TYPES = ("person", "person_head")
OTHER_DATA_TYPE, WEIGHTLESS = "data_type", "weight 0"
NO_REFERENCE_FACE, NO_FACE, NOT_FINITE = "no face in the reference", "no face in the picture", "picture not finite"


@dataclass(frozen=True, eq=False)
class FaceLossDetails:
    """What became of each sample of a batch.

    `per_sample_B`: 1 - cosine before any weight, without a graph, 0 where not `valid_B` (bool); `why`: one of this
    module's reasons, "" where valid; `aligned`: "kps" or "bbox", and `found`: "detect" or "reference" for where the
    picture's face was taken from, both "" where not valid.
    """

    per_sample_B: Tensor
    valid_B: Tensor
    why: tuple[str, ...]
    aligned: tuple[str, ...]
    found: tuple[str, ...]


def gate(count: int, data_type: Sequence[str] | None, weight_B: Tensor | None) -> list[str]:
    """For each sample "" if its face counts, or the reason why not: its data type, or a weight of 0.

    Without data types all are faces. InputError when there is not one for each sample.
    """
    if data_type is None:
        data_type = [FACE_DATA_TYPES[0]] * count
    elif isinstance(data_type, str) or len(data_type) != count:
        raise InputError(f"data_type {data_type!r}: give one for each of the {count} samples of the batch")
    if weight_B is not None and weight_B.shape != (count,):
        raise InputError(f"weight_B has shape {tuple(weight_B.shape)}; give one weight for each of the {count} samples")
    weights = [1.0] * count if weight_B is None else weight_B.tolist()
    reasons = {kind: "" if kind in FACE_DATA_TYPES else OTHER_DATA_TYPE for kind in data_type}
    return [reasons[kind] or ("" if weight else WEIGHTLESS) for kind, weight in zip(data_type, weights)]


class Skips:
    """Counts the samples that should have counted and could not; tells of the 1st, 10th, 100th ... of each reason.

    What the gate leaves out is as was asked for: counted, not told.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.num_samples = 0

    def note(self, why: Sequence[str], names: Sequence[object] | None = None) -> None:
        """Add the reasons of a batch, "" for a sample that counted; `names` say which samples these are."""
        self.num_samples += len(why)
        for place, reason in enumerate(why):
            if not reason:
                continue
            self.counts[reason] += 1
            count = self.counts[reason]
            if reason not in (OTHER_DATA_TYPE, WEIGHTLESS) and count == 10 ** (len(str(count)) - 1):
                name = "" if names is None else f" ({names[place]})"
                LOG.warning(
                    "%s%s: no face loss for this sample; %d of %d samples so far", reason, name, count, self.num_samples
                )
