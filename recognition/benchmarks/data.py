"""Images a second from a record file to batches: the loader, reading as arcface_torch does, and DALI.

All read the same images, from the kernel's cache of the file. A step is one pass over them; nothing has been read ahead
when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import simplejpeg
import torch
from torch import Tensor

from recognition.benchmarks.clock import Side, Step, Timing
from recognition.benchmarks.data_baseline import LIKE_OPENCV, PILLOW, SampleDataset, dali_pass, sample_loader
from recognition.benchmarks.data_set import IMAGE_SIZE, SEED, DataCase, opened_case
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import DENSE, DENSE_AT_BEST
from recognition.data.dali import DaliLoader
from recognition.data.loader import Loader
from recognition.data.sources import RecordSource
from recognition.runtime import Runtime

BASELINES = BASELINE, BASELINE_AT_BEST = DENSE, DENSE_AT_BEST
DECODER = "decoder alone"
DALI, DALI_READER = "loader on DALI", "DALI's own reader"
IMAGES, BATCH, WORKERS = 8192, 128, (0, 1, 2)
# Yields the pictures and labels of one batch after the other.
Pass = Callable[[], Iterator[tuple[Tensor, Tensor]]]


class Way(NamedTuple):
    """What opens a set to be read (picklable), threads or processes beside the consumer, and the allocator's manner."""

    open: Callable[[Runtime], Pass]
    workers: int
    keeps_memory: bool = True

    @property
    def side(self) -> Side:
        """A step is a pass."""
        return Side(partial(reading_step, self.open), self.keeps_memory)


def bench_data(
    settings: Settings,
    *,
    images: int,
    batch: int,
    workers: Sequence[int],
    source: Path | None = None,
    image_size: int = IMAGE_SIZE,
) -> list[dict[str, Any]]:
    """A row for each way to read: images a second on the wall, and how many times the baseline's."""
    with opened_case(source, images=images, batch=batch, image_size=image_size) as case:
        ways = ways_of(case, workers)
        timings = settings.timings({name: way.side for name, way in ways.items()})
        (picture_bytes,) = settings.apart(bytes_of_pictures, [way.open for way in ways.values()])
    rows = []
    for (name, way), num_bytes in zip(ways.items(), picture_bytes):
        row = {"way": name, "workers": way.workers, "images/s": case.images / timings[name].wall_s}
        row |= {"CPU us/image": cpu_us(case, timings[name]), "bytes/image": num_bytes}
        rows.append(row | {"x": timings[BASELINE].wall_s / timings[name].wall_s})
    return rows


def cpu_us(case: DataCase, timing: Timing) -> float:
    """CPU time of an image, in microseconds."""
    return 1e6 * timing.cpu_s / case.images


def ways_of(case: DataCase, workers: Sequence[int]) -> dict[str, Way]:
    """The baseline as its users have it and at its best, the loader with so many threads, DALI, and the decoder.

    All but the loader have as many workers as it has at most.
    """
    most = max(workers)
    ways = {
        BASELINE: Way(partial(open_samples, case, PILLOW, most), most, keeps_memory=False),
        BASELINE_AT_BEST: Way(partial(open_samples, case, LIKE_OPENCV, most), most),
    }
    ways |= {loader_name(count): Way(partial(open_loader, case, Loader, count), count) for count in workers}
    if has_dali():
        threads = max(1, most)
        ways[DALI] = Way(partial(open_loader, case, DaliLoader, threads), threads)
        ways[DALI_READER] = Way(partial(open_dali, case, threads), threads)
    return ways | {DECODER: Way(partial(open_decoder, case), 0)}


def loader_name(workers: int) -> str:
    """What the loader with so many threads is called in a table."""
    return f"loader, {workers} thread{'' if workers == 1 else 's'}"


def has_dali() -> bool:
    """Whether DALI can be imported; it is an extra."""
    try:
        import nvidia.dali  # noqa: F401
    except ImportError:
        return False
    return True


def open_loader(case: DataCase, kind: type[Loader], workers: int, runtime: Runtime) -> Pass:
    """The loader: uint8 (B, H, W, 3) and int64 labels (B,)."""
    loader = kind(
        RecordSource(case.rec),
        batch_size=case.batch,
        runtime=runtime,
        seed=SEED,
        num_workers=workers,
        num_steps=case.steps,
        image_size=case.image_size,
    )
    return lambda: ((batch.images_BHWC, batch.labels_B) for batch in loader)


def open_samples(case: DataCase, decoder: str, processes: int, runtime: Runtime, *, flip: float = 0.5) -> Pass:
    """The baseline: float32 (B, 3, H, W) and int64 labels (B,); its processes live on from pass to pass."""
    ids = case.ids(RecordSource(case.rec)).tolist()
    dataset = SampleDataset(case.rec, decoder, flip=flip)
    loader = sample_loader(dataset, ids, batch=case.batch, processes=processes)
    return lambda: iter(loader)


def open_dali(case: DataCase, threads: int, runtime: Runtime) -> Pass:
    """DALI as its users have it, in its own order: float32 (B, 3, H, W) and float32 labels (B, 1)."""
    size_BCHW = (case.batch, 3, case.image_size, case.image_size)
    return dali_pass(case.rec, case.image_idx, size_BCHW, steps=case.steps, threads=threads)


def open_decoder(case: DataCase, runtime: Runtime) -> Pass:
    """Decoding and nothing else, on one thread, into the memory of one batch: what it takes at least on one core."""
    source = RecordSource(case.rec)
    samples = [source.read(index) for index in case.ids(source).tolist()]
    images_BHWC = torch.empty(case.batch, case.image_size, case.image_size, 3, dtype=torch.uint8)
    pixels_BHWC = images_BHWC.numpy()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(samples), case.batch):
            share = samples[start : start + case.batch]
            for slot, sample in enumerate(share):
                simplejpeg.decode_jpeg(sample.payload, "RGB", buffer=pixels_BHWC[slot])
            yield images_BHWC, torch.tensor([sample.label for sample in share])

    return batches


def reading_step(open: Callable[[Runtime], Pass], runtime: Runtime) -> Step:
    """A step that reads all batches of a pass and keeps none."""
    read = open(runtime)

    def step(number: int) -> None:
        for _ in read():
            pass

    return step


def bytes_of_pictures(runtime: Runtime, opens: Sequence[Callable[[Runtime], Pass]]) -> list[int]:
    """Bytes that a picture has in a batch, for each way to read."""
    found = []
    for open in opens:
        pictures, _ = next(iter(open(runtime)()))
        found.append(pictures.nbytes // len(pictures))
    return found
