"""What a file holds once it is opened, whatever its format: pictures as the network itself wants them -> embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recognition.embedding.preprocess import Preprocess

# Where a file does not say which output is the embedding: longer ones are logits or feature maps.
LONGEST_EMBEDDING = 4096


@dataclass(frozen=True)
class Network:
    """`run(x_BCHW)` maps float32 pictures, as this network wants them, to embeddings (B, D).

    `size`: the (height, width) it takes, None for any; `wants`: what its file says of its preprocessing, `wants_from`
    where that was found ("metadata" or "the graph") and `why` in a sentence; `whole_pixels`: it takes bytes, so
    that its input cannot be normalised outside; `module` where it is one.
    """

    run: Callable[[Tensor], Tensor]
    size: tuple[int, int] | None
    facts: dict[str, Any] = field(default_factory=dict)
    wants: Preprocess = Preprocess()
    wants_from: str = "default"
    why: str = ""
    whole_pixels: bool = False
    module: nn.Module | None = None


def which_output(widths: Sequence[int | None]) -> int | None:
    """Index of the output that is most likely the embedding, given the length of each a picture; None without one.

    The longest, up to 4096: beside embeddings stand norms, qualities and ages. The length is 0 where an output cannot
    be an embedding, None where that is not known before the network runs.
    """
    known = [width or 0 for width in widths]
    fitting = [width if width <= LONGEST_EMBEDDING else 0 for width in known]
    if any(width > 1 for width in fitting):
        return fitting.index(max(fitting))
    usable = [index for index, width in enumerate(widths) if width != 0]
    return usable[0] if usable else None


def width_of(shape: Sequence[Any]) -> int | None:
    """Length of the vector a picture in an output of this shape, batch first; 0: no vector, None: not known.

    (N, D), (N, 1, D), or four sides of which one is longer than 1; (N, A, 1) is what detectors say of A places.
    """
    rest = list(shape[1:])
    if len(shape) == 3 and rest[0] != 1:
        return 0
    if len(shape) == 2:
        return rest[0] if isinstance(rest[0], int) and rest[0] > 0 else None
    if not rest or not all(isinstance(side, int) and side > 0 for side in rest):
        return 0
    longer = [side for side in rest if side != 1]
    return 0 if len(longer) > 1 else (longer or [1])[0]


def file_sha256(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    with open(path, "rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
