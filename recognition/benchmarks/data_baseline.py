"""Reading data as arcface_torch does, sample by sample: what the loader is measured against.

Written from a description of what its dataset and its DALI pipeline do, not from their code, and with their costs: each
sample is looked up in a dictionary, read by seek and read, decoded, made a PIL image, mirrored by a coin, made a tensor
of float32 in CHW and normalised, all in worker processes, which collate and send batches of floats.

What decodes is Pillow, as in torchvision's folders, or simplejpeg. MXNet decodes with OpenCV, which is not needed here:
all three are libjpeg-turbo inside, and simplejpeg is a little quicker than OpenCV, Pillow slower.

B batch, H and W height and width.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from recognition.data.dali import DEPTH

PILLOW, LIKE_OPENCV = "Pillow", "simplejpeg"
MEAN = STD = 0.5
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH = (1 << 29) - 1


def parsed_by_line(idx: Path) -> dict[int, int]:
    """Offset of each key, from lines `key<TAB>offset` split and converted one by one."""
    offsets = {}
    with open(idx) as lines:
        for line in lines:
            key, offset = line.strip().split("\t")
            offsets[int(key)] = int(offset)
    return offsets


class SeekingReader:
    """Whole records of a `.rec` by key, through one file handle a process; it checks nothing."""

    def __init__(self, rec: Path) -> None:
        self.rec = rec
        self.offsets = parsed_by_line(rec.with_suffix(".idx"))
        self.process, self.file = None, None

    def read(self, key: int) -> tuple[np.ndarray, bytes]:
        """Labels, float32 (n,), and the encoded image."""
        if self.process != os.getpid():  # a forked process would share the position in the file
            self.process, self.file = os.getpid(), open(self.rec, "rb")  # noqa: SIM115 - open as long as the reader
        self.file.seek(self.offsets[key])
        _, word = _FRAME.unpack(self.file.read(_FRAME.size))
        body = self.file.read(word & _LENGTH)
        flag, label, _, _ = _HEADER.unpack_from(body)
        labels = np.frombuffer(body, np.float32, flag, _HEADER.size) if flag else np.array([label], np.float32)
        return labels, body[_HEADER.size + 4 * flag :]


class SampleDataset(Dataset):
    """Images of a set in the order of their keys, without header and identities: float32 (3, H, W) and int64 label."""

    def __init__(self, rec: Path, decoder: str, *, flip: float = 0.5) -> None:
        self.reader, self.decode, self.flip = SeekingReader(rec), DECODERS[decoder], flip
        labels, payload = self.reader.read(0)
        self.keys = list(self.reader.offsets) if payload else np.arange(1, int(labels[0]))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        labels, payload = self.reader.read(self.keys[index])
        image = Image.fromarray(self.decode(payload))
        if torch.rand(1) < self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _normalised(_to_tensor(image)), torch.tensor(int(labels[0]), dtype=torch.long)


def sample_loader(dataset: SampleDataset, ids: Sequence[int], *, batch: int, processes: int) -> DataLoader:
    """Batches, float32 (B, 3, H, W) and int64 labels (B,), of the samples `ids` in their order; the last is dropped."""
    ahead = {"persistent_workers": True, "multiprocessing_context": "fork"} if processes else {}
    return DataLoader(dataset, batch, sampler=ids, num_workers=processes, drop_last=True, **ahead)


def dali_pass(
    rec: Path, image_idx: Path, size_BCHW: tuple[int, int, int, int], *, steps: int, threads: int
) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """DALI with its own reader: a call yields `steps` batches, float32 (B, 3, H, W) and float32 labels (B, 1).

    `image_idx` must name records with an image alone: the reader decodes what it finds, and ends at the first header.
    """
    from nvidia.dali import Pipeline, fn, types
    from nvidia.dali.plugin.pytorch import feed_ndarray

    pipeline = Pipeline(size_BCHW[0], threads, device_id=None, prefetch_queue_depth=DEPTH)
    with pipeline:
        encoded, labels = fn.readers.mxnet(path=[str(rec)], index_path=[str(image_idx)], random_shuffle=True)
        pixels = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        scale, mirror = [255 * MEAN] * 3, fn.random.coin_flip(probability=0.5)
        pictures = fn.crop_mirror_normalize(pixels, dtype=types.FLOAT, mean=scale, std=scale, mirror=mirror)
        pipeline.set_outputs(pictures, labels)
    pipeline.build()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(min(DEPTH, steps)):
            pipeline.schedule_run()
        for step in range(steps):
            pictures, labels = (output.as_tensor() for output in pipeline.share_outputs())
            x_BCHW = feed_ndarray(pictures, torch.empty(size_BCHW))
            labels_B1 = feed_ndarray(labels, torch.empty(size_BCHW[0], 1))
            pipeline.release_outputs()
            yield x_BCHW, labels_B1
            if step + DEPTH < steps:
                pipeline.schedule_run()

    return batches


def _with_pillow(payload: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(payload)).convert("RGB"))


DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {PILLOW: _with_pillow, LIKE_OPENCV: simplejpeg.decode_jpeg}


def _to_tensor(image: Image.Image) -> Tensor:
    """What torchvision's ToTensor does: float32 (3, H, W) in [0, 1]."""
    pixels_HWC = torch.from_numpy(np.array(image, copy=True))
    return pixels_HWC.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def _normalised(image_CHW: Tensor) -> Tensor:
    """What torchvision's Normalize does: (image - mean) / std of each channel, in a copy."""
    image_CHW = image_CHW.clone()
    mean, std = (torch.as_tensor([value] * 3, dtype=image_CHW.dtype) for value in (MEAN, STD))
    return image_CHW.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))
