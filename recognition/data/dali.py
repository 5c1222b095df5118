"""The loader on NVIDIA DALI: our order and our sources, DALI's decoder (on the GPU where there is one).

DALI's own record reader decodes whatever the index names, header and identity records included, and the first of these
ends its pipeline for good. Here it is handed the bytes of images only, one batch at a time.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from recognition.data.decode import Payload, Where, check_size, decode_into
from recognition.data.loader import Batch, Filled, Loader, Put
from recognition.data.sources import Source
from recognition.errors import InputError

DEPTH = 2


class DaliLoader(Loader):
    """As Loader, with the same batches; on CUDA the images are decoded to the device and stay there.

    JPEG pixels equal Loader's bit for bit on the CPU; the GPU's decoder rounds differently. Damage that only shows when
    the image is decoded is dealt with as in Loader, after DALI's own lines.

    Not supported: to notice damage within a JPEG that its decoder can go on after. Loader refuses such an image, DALI
    shows it, grey from there on; the checksums of a record file find it before either.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(source, **options)
        try:
            import nvidia.dali  # noqa: F401
        except ImportError as error:
            raise InputError(f"dali=True, but {error}; pip install -e '.[dali]', or set dali=False") from error

    def image_slots(self) -> tuple[list, Put]:
        """The payloads of one batch, not decoded: uint8 arrays, of bytes or of pixels."""
        payloads = [None] * self.batch_size

        def put(slot: int, payload: Payload, where: Where) -> None:
            check_size(payload, self.image_size, self.image_size, where)
            payloads[slot] = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)

        return payloads, put

    def batches(self, filled: Iterator[tuple[Filled, float]]) -> Iterator[Batch]:
        """Batches of what the threads have filled, decoded by DALI while the one before is in use."""
        flying: deque[Filled] = deque()
        started = time.perf_counter()
        coming = (done for done, _ in filled)
        if (first := next(coming, None)) is None:
            return
        coming = itertools.chain([first], coming)

        def next_payloads() -> list[np.ndarray]:
            flying.append(next(coming))  # StopIteration tells DALI that this was the last
            return flying[-1].images

        encoded = first.images[0].ndim == 1
        decoder = self._decoder(next_payloads, encoded=encoded)
        decoder.advance()
        while flying:
            try:
                images_BHWC = decoder.take()
            except RuntimeError as error:
                self._mend(flying, error)
                # A pipeline that has failed stays so: what it had in hand goes to a new one.
                coming = itertools.chain(list(flying), coming)
                flying.clear()
                decoder = self._decoder(next_payloads, encoded=encoded)
            else:
                yield flying.popleft().batch(images_BHWC, time.perf_counter() - started)
                started = time.perf_counter()
            decoder.advance()

    def _decoder(self, next_payloads: Callable[[], list[np.ndarray]], *, encoded: bool) -> _Decoder:
        size = (self.batch_size, self.image_size, self.image_size, 3)
        threads = max(1, self.num_workers)
        return _Decoder(next_payloads, size, encoded=encoded, num_threads=threads, device=self.runtime.device)

    def _mend(self, flying: deque[Filled], error: RuntimeError) -> None:
        """Decode what DALI had in hand once more, and give substitutes to the images that it stopped at.

        InputError that names the first of them where bad records are not skipped; `error` itself where there is none.
        """
        scratch = np.empty((self.image_size, self.image_size, 3), np.uint8)
        mended = False
        for filled in flying:
            for slot, index in enumerate(filled.ids_B.tolist()):
                payload = filled.images[slot]
                try:
                    decode_into(scratch, payload.data if payload.ndim == 1 else payload, self._where(index))
                except InputError as named:
                    if not self.skip_bad:
                        raise named from error
                    self._fill_again(filled, slot, scratch)
                    mended = True
        if not mended:
            raise error

    def _where(self, index: int) -> Where:
        return partial(self.source.describe, index)

    def _fill_again(self, filled: Filled, slot: int, scratch: np.ndarray) -> None:
        """Read the slot's sample and its substitutes anew, decoding each this time, as Loader does."""

        def put(slot: int, payload: Payload, where: Where) -> None:
            decode_into(scratch, payload, where)
            filled.images[slot] = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)

        if filled.bad_B[slot]:
            filled.ids_B[slot] = filled.bad_B[slot][0].index  # the one that the order asked for
        self.fill(filled, put, slot)


class _Decoder:
    """A DALI pipeline from batches of encoded images (or of pixels, when not `encoded`) to uint8 tensors."""

    def __init__(
        self,
        next_payloads: Callable[[], list[np.ndarray]],
        size_BHWC: tuple[int, int, int, int],
        *,
        encoded: bool,
        num_threads: int,
        device: torch.device,
    ) -> None:
        from nvidia.dali import Pipeline, fn, types
        from nvidia.dali.plugin.pytorch import feed_ndarray

        self.size_BHWC, self.device, self.copy = size_BHWC, device, feed_ndarray
        on_gpu = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.pipeline = Pipeline(
            batch_size=size_BHWC[0],
            num_threads=num_threads,
            device_id=(device.index or 0) if on_gpu else None,
            prefetch_queue_depth=DEPTH,
        )
        with self.pipeline:
            images = fn.external_source(source=next_payloads, dtype=types.UINT8, ndim=1 if encoded else 3)
            if encoded:
                images = fn.decoders.image(
                    images,
                    device="mixed" if on_gpu else "cpu",
                    output_type=types.RGB,
                    # Makes the GPU upsample chroma as libjpeg does on the CPU.
                    jpeg_fancy_upsampling=True,
                    # Loader does not turn images by their EXIF tag either.
                    adjust_orientation=False,
                )
            elif on_gpu:
                images = images.gpu()
            self.pipeline.set_outputs(images)
        self.pipeline.build()

    def advance(self) -> None:
        """Start work on one batch more, if there is one (at first, on DEPTH); raises what reading it raised."""
        self.pipeline.schedule_run()

    def take(self) -> torch.Tensor:
        """The oldest batch, uint8 (B, H, W, 3), on the device; RuntimeError when an image cannot be decoded."""
        images = self.pipeline.share_outputs()[0].as_tensor()
        if self.stream is None:
            images_BHWC = self.copy(images, torch.empty(self.size_BHWC, dtype=torch.uint8))
        else:
            # A stream of its own: waiting for the copy must not mean waiting for training steps queued before it.
            with torch.cuda.stream(self.stream):
                images_BHWC = torch.empty(self.size_BHWC, dtype=torch.uint8, device=self.device)
                self.copy(images, images_BHWC, cuda_stream=self.stream)
            self.stream.synchronize()
            images_BHWC.record_stream(torch.cuda.current_stream(self.device))
        self.pipeline.release_outputs()
        return images_BHWC
