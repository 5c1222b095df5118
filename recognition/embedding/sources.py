"""The images of a source (a record file, shards, a folder per identity, ...) as pictures to embed."""

from __future__ import annotations

import numpy as np

from recognition.data.decode import announced_size, decode_into
from recognition.data.sources import Source
from recognition.data.threads import map_in_order


class SourcePictures:
    """Pictures of a source, decoded when they are asked for; all must have the size (height, width) of the first.

    InputError naming the image for one that is damaged or of another size.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size = announced_size(source.read(0).payload, lambda: source.describe(0))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.labelled(index)[0]

    def labelled(self, index: int) -> tuple[np.ndarray, int]:
        """That picture with its label, for whoever wants both: the source is read once."""
        sample, pixels_HWC = self.source.read(index), np.empty((*self.size, 3), np.uint8)
        decode_into(pixels_HWC, sample.payload, lambda: self.source.describe(index))
        return pixels_HWC, sample.label


def labels_of(source: Source) -> np.ndarray:
    """The label of each image, int64 (N,); reads the images where the source does not know them otherwise."""
    labels_N = source.labels()
    if labels_N is None:
        labels_N = np.fromiter(
            map_in_order(lambda index: source.read(index).label, range(len(source))), np.int64, len(source)
        )
    return labels_N
