"""How far apart two pictures' faces are in identity: found, aligned, embedded, compared; what all face losses share."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.alignment import box_matrices, similarity_matrices, square_boxes, template, usable_points
from generation.detection import FaceFinder, Found, PrecomputedFinder
from generation.identity.gate import NO_FACE, NO_REFERENCE_FACE, NOT_FINITE, FaceLossDetails, Skips, gate
from generation.identity.pictures import GivenPictures, Pictures
from recognition.errors import InputError

BBOX, KPS = "bbox", "kps"
ALIGN_MODES = (BBOX, KPS)
DETECT, REFERENCE = "detect", "reference"
GEN_FACE_SOURCES = (DETECT, REFERENCE)
PACK = "buffalo_l"  # where faces are found when nothing is said
# Vectors (N, D) of N crops, the embedding last.
Features = tuple[Tensor, ...]


@dataclass(eq=False)
class Reference:
    """What is known of a reference picture: its face, None without one, and the features of it by alignment."""

    found: Found | None
    sides: tuple[int, int]  # height, width
    features: dict[str, Features] = field(default_factory=dict)


@dataclass(eq=False)
class _Pair:
    """A sample of the batch that has a reference face: the face that is compared with it, how found, how aligned."""

    index: int
    reference: Reference
    face: Found | None = None
    found: str = ""
    mode: str = ""


@dataclass(frozen=True, eq=False)
class FaceComparison:
    """Compares each picture's largest face with that of its reference.

    `embed` maps crops img01 (N, 3, size, size) to features, of which `weights` has one weight each. `align_mode` "kps"
    turns faces upright by their five points, and takes both by their boxes, `margin` times as large and square, where
    one of the two has no usable points: crops that are made in two ways do not compare. `gen_face_source` "reference"
    takes the reference's face where none is found in a picture, at the same place in the picture; with a finder that
    goes by names and pictures without, always.

    References are found and embedded once for each of their keys, which stand for the same picture as long as this
    object lives; without keys, in each call. With keys each is embedded alone: its last bits then do not depend on
    which others came with it, so that a run that is resumed, and knows none, goes on exactly.
    """

    embed: Callable[[Tensor], Features]
    finder: FaceFinder
    size: int
    align_mode: str = BBOX
    margin: float = 1.2
    gen_face_source: str = DETECT
    weights: tuple[float, ...] = (1.0,)
    known: dict[Hashable, Reference] = field(default_factory=dict)
    skips: Skips = field(default_factory=Skips)

    def __post_init__(self) -> None:
        for name, choices in (("align_mode", ALIGN_MODES), ("gen_face_source", GEN_FACE_SOURCES)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name}={getattr(self, name)!r} is not known; use one of {', '.join(choices)}")
        if not self.margin > 0:
            raise InputError(f"margin={self.margin:g} must be above 0: sides of the crop in sides of the face's box")
        if min(self.weights) < 0 or not sum(self.weights) > 0:
            raise InputError(f"layer_weights={list(self.weights)} must be 0 and more, and not all 0")

    def __call__(
        self,
        ref_img01_BCHW: Tensor,
        pictures: Pictures,
        *,
        data_type: Sequence[str] | None = None,
        ref_keys: Sequence[Hashable] | None = None,
        gen_keys: Sequence[str] | None = None,
        weight_B: Tensor | None = None,
    ) -> tuple[Tensor, FaceLossDetails]:
        """The mean of weight * (1 - cosine) over valid samples, 0 on the graph where there are none; details."""
        count = len(ref_img01_BCHW)
        if len(pictures) != count:
            raise InputError(f"{count} ref_images and {len(pictures)} pictures; give each picture its reference")
        for name, keys in (("ref_keys", ref_keys), ("gen_keys", gen_keys)):
            if keys is not None and len(keys) != count:
                raise InputError(f"{name} has {len(keys)} keys; give one for each of the {count} samples of the batch")
        why = gate(count, data_type, weight_B)
        references = self._references(ref_img01_BCHW, ref_keys, [index for index in range(count) if not why[index]])
        for index, reference in references.items():
            why[index] = "" if reference.found is not None else NO_REFERENCE_FACE
        pairs = [_Pair(index, reference) for index, reference in references.items() if not why[index]]
        loss, distance_N = pictures.zero(), None
        if pairs:
            pictures = pictures.take([pair.index for pair in pairs])
            self._find(pictures, pairs, gen_keys, why)
            kept = [place for place, pair in enumerate(pairs) if not why[pair.index]]
            pairs = [pairs[place] for place in kept]
        if pairs:
            self._embed_references(ref_img01_BCHW, pairs, alone=ref_keys is not None)
            distance_N = self._distances(pictures.take(kept), pairs)
            weight_N = 1.0 if weight_B is None else weight_B.to(distance_N)[[pair.index for pair in pairs]]
            loss = loss + (weight_N * distance_N).mean()
        self.skips.note(why, ref_keys)
        return loss, _details(why, pairs, distance_N, loss)

    def learn(self, ref_img01_BCHW: Tensor, ref_keys: Sequence[Hashable]) -> list[Reference]:
        """Find and embed these references now, once for each key; what is known of them then, in their order.

        With "kps" the features are those of the upright crop where it can be made; others are added when they are
        needed.
        """
        references = self._references(ref_img01_BCHW, ref_keys, list(range(len(ref_keys))))
        pairs = [_Pair(index, reference) for index, reference in references.items() if reference.found is not None]
        for pair in pairs:
            points_52 = pair.reference.found.points_52
            upright = self.align_mode == KPS and points_52 is not None and usable_points(points_52)
            pair.mode = KPS if upright else BBOX
        self._embed_references(ref_img01_BCHW, pairs, alone=True)
        return list(references.values())

    def _references(
        self, img01_BCHW: Tensor, keys: Sequence[Hashable] | None, indices: list[int]
    ) -> dict[int, Reference]:
        """What is known of these samples' references, after one call of the finder for those of which nothing was."""
        known = {} if keys is None else self.known
        key_of = dict(enumerate(range(len(img01_BCHW)) if keys is None else keys))
        new = {key_of[index]: index for index in reversed(indices) if key_of[index] not in known}
        if new:
            with torch.no_grad():
                seen_BCHW = GivenPictures(img01_BCHW[list(new.values())]).seen_BCHW
                names = None if keys is None else [str(key) for key in new]
                sides = tuple(img01_BCHW.shape[2:])
                for key, found in zip(new, self.finder(seen_BCHW, names), strict=True):
                    known[key] = Reference(found if _usable(found, sides) else None, sides)
        return {index: known[key_of[index]] for index in indices}

    def _find(self, pictures: Pictures, pairs: list[_Pair], keys: Sequence[str] | None, why: list[str]) -> None:
        """Note each pair's face and how it is aligned, or in `why` the reason why there is none."""
        seen_BCHW = pictures.seen_BCHW
        sides = tuple(seen_BCHW.shape[2:])
        finite = seen_BCHW.isfinite().flatten(1).all(1).tolist()
        with torch.no_grad():
            names = None if keys is None else [keys[pair.index] for pair in pairs]
            nameless = names is None and isinstance(self.finder, PrecomputedFinder)
            if nameless and self.gen_face_source == REFERENCE:
                faces: list[Found | None] = [None] * len(pairs)  # known are the references alone
            else:
                faces = self.finder(seen_BCHW.nan_to_num(), names)
        for pair, face, is_finite in zip(pairs, faces, finite, strict=True):
            pair.face, pair.found = (face, DETECT) if _usable(face, sides) else (None, "")
            if pair.face is None and self.gen_face_source == REFERENCE:
                pair.face, pair.found = _placed(pair.reference, sides), REFERENCE
            if not is_finite or pair.face is None:
                why[pair.index] = NO_FACE if is_finite else NOT_FINITE
                continue
            both = (pair.face, pair.reference.found)
            upright = self.align_mode == KPS and all(
                found.points_52 is not None and usable_points(found.points_52) for found in both
            )
            pair.mode = KPS if upright else BBOX

    @torch.no_grad()
    def _embed_references(self, img01_BCHW: Tensor, pairs: list[_Pair], *, alone: bool) -> None:
        """Give each pair's reference the features of its alignment, where it has not got them."""
        new = {(id(pair.reference), pair.mode): pair for pair in pairs if pair.mode not in pair.reference.features}
        lacking = list(new.values())
        at_once = 1 if alone else max(1, len(lacking))
        for some in (lacking[start : start + at_once] for start in range(0, len(lacking), at_once)):
            pictures = GivenPictures(img01_BCHW[[pair.index for pair in some]])
            places = [(pair.reference.found, pair.mode) for pair in some]
            features = self.embed(pictures.crops(self._matrices(places, pictures.seen_BCHW), self.size))
            for pair, *vectors in zip(some, *features):
                pair.reference.features[pair.mode] = tuple(vectors)

    def _distances(self, pictures: Pictures, pairs: list[_Pair]) -> Tensor:
        """1 - cosine of each pair, (N,): 0 to 2, the weighted mean over features."""
        places = [(pair.face, pair.mode) for pair in pairs]
        features = self.embed(pictures.crops(self._matrices(places, pictures.seen_BCHW), self.size))
        wanted = zip(*(pair.reference.features[pair.mode] for pair in pairs))
        return sum(
            weight
            / sum(self.weights)
            * one_minus_cosine(torch.stack([vector.to(vectors_ND) for vector in of_references]), vectors_ND)
            for weight, of_references, vectors_ND in zip(self.weights, wanted, features)
        )

    def _matrices(self, places: list[tuple[Found, str]], like: Tensor) -> Tensor:
        """Picture -> crop for each face by its own alignment, (N, 2, 3) on the device of `like`."""
        template_52 = template(self.size, device=like.device)
        matrices = []
        for found, mode in places:
            if mode == KPS:
                matrices.append(similarity_matrices(found.points_52.to(like)[None], template_52))
            else:
                matrices.append(box_matrices(square_boxes(found.box_4.to(like)[None], self.margin), self.size))
        return torch.cat(matrices)


def one_minus_cosine(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """1 - cos of the angle between rows, (N,), in [0, 2] up to rounding.

    As |a/|a| - b/|b||^2 / 2, which has no cancellation: between nearly equal vectors 1 - cos itself is all rounding.
    """
    return (F.normalize(a_ND, dim=1) - F.normalize(b_ND, dim=1)).square().sum(1) / 2


def _details(why: list[str], pairs: list[_Pair], distance_N: Tensor | None, like: Tensor) -> FaceLossDetails:
    aligned, found = [""] * len(why), [""] * len(why)
    per_sample_B = like.new_zeros(len(why))
    if distance_N is not None:
        per_sample_B[[pair.index for pair in pairs]] = distance_N.detach().to(per_sample_B)
    for pair in pairs:
        aligned[pair.index], found[pair.index] = pair.mode, pair.found
    valid_B = torch.tensor([not reason for reason in why], device=like.device)
    return FaceLossDetails(per_sample_B, valid_B, tuple(why), tuple(aligned), tuple(found))


def _usable(found: Found | None, sides: tuple[int, int]) -> bool:
    """A face whose box has at least a pixel, and one in common with the picture of these sides (height, width)."""
    if found is None:
        return False
    x1, y1, x2, y2 = found.box_4.tolist()
    return min(x2, sides[1]) - max(x1, 0) >= 1 and min(y2, sides[0]) - max(y1, 0) >= 1 and x2 - x1 + y2 - y1 < math.inf


def _placed(reference: Reference, sides: tuple[int, int]) -> Found:
    """The reference's face at the same place in a picture of other sides (height, width).

    Pixels are areas: what is at x, counted from the centre of the first pixel, moves to (x + 0.5) * scale - 0.5.
    """
    scale_2 = torch.tensor([now / then for now, then in zip(sides, reference.sides)][::-1])
    found = reference.found
    box_4 = ((found.box_4.reshape(2, 2) + 0.5) * scale_2 - 0.5).flatten()
    points_52 = None if found.points_52 is None else (found.points_52 + 0.5) * scale_2 - 0.5
    return replace(found, box_4=box_4, points_52=points_52)
