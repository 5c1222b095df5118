"""Any image file -> the JPEG that goes into a record: untouched where it fits already, else fitted and encoded.

What is done to each image is a `Prepare`: an `Encoder` here, or anything else that makes a JPEG of the bytes of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import Image, ImageOps
from tqdm import tqdm

from recognition.data.decode import Where, announced_size, decoded, is_jpeg, upright_image
from recognition.data.threads import map_in_order
from recognition.errors import InputError

MAX_SIZE = 4096
FITS = ("pad", "crop", "stretch")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that goes into a record: `jpeg`, and its (height, width)."""

    jpeg: bytes
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image that is left out, for a reason that is listed; `thumbnail` is a JPEG for the list, or empty."""

    reason: str
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that was left out; `damaged` when it could not be read, else what prepares images rejected it."""

    path: str
    label: int
    reason: str
    damaged: bool
    thumbnail: bytes = b""


def failure_of(result: Rejected | InputError, path: str, label: int) -> Failure:
    """How the list names the image at `path` that was left out."""
    if isinstance(result, Rejected):
        return Failure(path, label, result.reason, False, result.thumbnail)
    return Failure(path, label, str(result).removeprefix(f"{path}: "), damaged=True)


# Called by several threads at once with a file's bytes and where they lie. InputError for what cannot be read. `repr`
# names every setting that the result depends on: a pack goes on after a stop only where it is the same.
Prepare = Callable[[bytes, Where], Prepared | Rejected]


@dataclass(frozen=True)
class Encoder:
    """The `Prepare` that keeps or encodes whole images, see `to_jpeg`."""

    image_size: int | None = None
    fit: str = "pad"
    quality: int = 95

    def __post_init__(self) -> None:
        # Here and not with the first image: a wrong option is no damaged picture that may be skipped.
        _check_options(self.image_size, self.fit, self.quality)

    def __call__(self, payload: bytes, where: Where) -> Prepared:
        """The JPEG of one image."""
        return Prepared(*to_jpeg(payload, where, image_size=self.image_size, fit=self.fit, quality=self.quality))


def to_jpeg(
    payload: bytes, where: Where, *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> tuple[bytes, tuple[int, int]]:
    """Return (JPEG bytes, (height, width)); a sound JPEG that has `image_size` (None: any size) keeps its bytes.

    `fit` makes other images square: `pad` keeps all of it and adds black bars, `crop` cuts the longer side, `stretch`
    distorts. InputError, beginning with `where()`, for what is not an image.
    """
    _check_options(image_size, fit, quality)
    if is_jpeg(payload):
        size = announced_size(payload, where)
        if image_size is None or size == (image_size, image_size):
            decoded(payload, where)
            return payload, size
    pixels_HWC = fitted(upright_image(payload, where), image_size, fit)
    return simplejpeg.encode_jpeg(pixels_HWC, quality, "RGB", "420"), pixels_HWC.shape[:2]


def _check_options(image_size: int | None, fit: str, quality: int) -> None:
    if fit not in FITS:
        raise InputError(f"fit={fit!r} is not known; use one of {', '.join(FITS)}")
    if not (1 <= quality <= 100 and (image_size is None or 1 <= image_size <= MAX_SIZE)):
        raise InputError(f"quality {quality} must be 1 to 100, image size {image_size} must be 1 to {MAX_SIZE}")


def fitted(image: Image.Image, image_size: int | None, fit: str) -> np.ndarray:
    """Pixels uint8 (H, W, 3) of an RGB image made square, `image_size` pixels, in the way `fit` (of FITS) says."""
    if image_size is not None and image.size != (image_size, image_size):
        square = (image_size, image_size)
        how = Image.Resampling.BICUBIC
        if fit == "pad":
            image = ImageOps.pad(image, square, method=how)
        elif fit == "crop":
            image = ImageOps.fit(image, square, method=how)
        else:
            image = image.resize(square, how)
    return np.ascontiguousarray(image)


def prepare_all(
    items: Sequence[Item],
    read: Callable[[Item], bytes],
    describe: Callable[[Item], str],
    prepare: Prepare,
    title: str,
    *,
    done: int = 0,
    workers: int | None = None,
) -> Iterator[Prepared | Rejected | InputError]:
    """What `prepare` makes of each of `items` from `done` on, in order, by threads, under a progress bar.

    An image that cannot be read comes as the InputError that says so: whether that ends all is the caller's choice.
    """

    def work(item: Item) -> Prepared | Rejected | InputError:
        try:
            return prepare(read(item), partial(describe, item))
        except InputError as error:
            return error

    results = map_in_order(work, items[done:], workers=workers)
    yield from tqdm(results, title, len(items), initial=done, unit="image", delay=1, disable=None)


def require_one_size(found: tuple[int, int], size: tuple[int, int] | None, where: Where) -> tuple[int, int]:
    """`found`; InputError unless it is the `size`, (height, width), of the images before, None for the first of all."""
    if size is not None and found != size:
        raise InputError(
            f"{where()}: is {found[1]}x{found[0]} pixels, the images before it are {size[1]}x{size[0]}; "
            f"give --image-size to bring all to one size"
        )
    return found
