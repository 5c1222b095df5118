"""The DALI loader gives Loader's batches: a CPU-only pipeline over the records that MXNet wrote."""

import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.data.dali import DaliLoader
from recognition.data.loader import Loader
from recognition.data.sources import Sample, SyntheticSource, open_source
from recognition.data.substitutes import substitutes
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.conftest import FIXTURES
from tests.pictures import encoded, face

RECORDS = FIXTURES / "recordio"
OPTIONS = {"batch_size": 7, "seed": 3, "num_steps": 11}


class Images:
    """Given payloads, in the order of the list."""

    def __init__(self, payloads):
        self.payloads, self.num_classes = payloads, len(payloads)

    def __len__(self):
        return len(self.payloads)

    def read(self, index):
        return Sample(self.payloads[index], index)

    def describe(self, index):
        return f"image {index}"


@pytest.fixture(scope="module")
def dali():
    return pytest.importorskip("nvidia.dali", reason="DALI is not installed (the extra `dali`)")


def assert_same_batches(source, **options):
    options = {"runtime": Runtime()} | OPTIONS | options
    expected = list(Loader(source, **options))
    batches = list(DaliLoader(source, **options))
    assert len(batches) == len(expected) == options["num_steps"]
    for ours, theirs in zip(batches, expected):
        for field in ("labels_B", "ids_B", "epochs_B", "images_BHWC"):
            value = getattr(ours, field)
            assert value.dtype == getattr(theirs, field).dtype
            assert value.equal(getattr(theirs, field)), field
        assert ours.bad == theirs.bad
        assert ours.wait_s >= 0
    return batches


# `insightface` and `vector_label` hold a header and identity records, the ones that end DALI's own record reader.
@pytest.mark.parametrize("layout", ["insightface", "im2rec", "vector_label"])
def test_batches_of_records_equal_loaders(dali, layout):
    assert_same_batches(open_source(RECORDS / layout, num_classes=10))


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_any_number_of_threads_and_steps(dali, num_workers, num_steps):
    assert_same_batches(open_source(RECORDS / "insightface"), num_workers=num_workers, num_steps=num_steps)


def test_no_steps_no_batches(dali):
    assert_same_batches(open_source(RECORDS / "insightface"), num_steps=0)


def test_resume_and_ranks(dali):
    source = open_source(RECORDS / "insightface")
    assert_same_batches(source, start_position=4 * 14 + 3, num_steps=3, runtime=Runtime(rank=1, world=2))


def test_synthetic_pixels_pass_through(dali):
    assert_same_batches(SyntheticSource(num_classes=3, num_image=20))


def test_every_kind_of_file(dali):
    turned = Image.Exif()
    turned[0x0112] = 6
    payloads = [
        encoded(face(), quality=75, subsampling=0),
        encoded(face(), quality=95, subsampling=1),
        encoded(face(), quality=100, subsampling=2),
        encoded(face(), quality=90, progressive=True),
        encoded(face(), quality=90, exif=turned),
        encoded(face(), "PNG"),
        encoded(face(), "BMP"),
    ]
    assert_same_batches(Images(payloads))


def test_image_of_another_size_never_reaches_dali(dali):
    loader = DaliLoader(Images([encoded(face()), encoded(face(96))]), runtime=Runtime(), **OPTIONS)
    with pytest.raises(InputError, match="^image 1: the image is 96x96 pixels, 112x112 is expected") as caught:
        list(loader)
    # Had DALI seen it, the error would have DALI's as its cause.
    assert caught.value.__cause__ is None


def test_damaged_image_is_named(dali, capfd):
    payloads = [encoded(face()) for _ in range(20)]
    payloads[13] = payloads[13][:1500]
    with pytest.raises(InputError, match="^image 13: not a readable JPEG") as caught:
        list(DaliLoader(Images(payloads), runtime=Runtime(), **OPTIONS))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_reading_errors_come_through(dali):
    source = Images([encoded(face())] * 20)
    source.read = lambda index: 1 / 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        list(DaliLoader(source, runtime=Runtime(), **OPTIONS))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_leaving_early_leaves_no_threads_of_ours(dali):
    for _ in DaliLoader(open_source(RECORDS / "insightface"), runtime=Runtime(), **OPTIONS):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[dali\]'"):
        DaliLoader(Images([b""]), runtime=Runtime(), **OPTIONS)


def torn_images():
    """20 images: 5 has no header, 13 and what would be shown for it cannot be decoded; the indices of the four."""
    payloads = [encoded(face()) for _ in range(20)]
    chain = [13, *substitutes(13, epoch=0, num_samples=20, seed=OPTIONS["seed"])[:2]]
    for index in chain:
        payloads[index] = payloads[index][:1500]
    bad = {5, *chain}
    payloads[5] = b"no image"
    return Images(payloads), bad


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_records_are_skipped_as_loader_does(dali, num_workers):
    source, bad = torn_images()
    batches = assert_same_batches(source, num_workers=num_workers, skip_bad=True)
    assert {record.index for batch in batches for record in batch.bad} == bad
    assert not any(set(batch.ids_B.tolist()) & bad for batch in batches)


def test_a_substitute_that_dali_stops_at_is_found_after_one_without_a_header(dali):
    # The first in the chain is dealt with as it is read, the second only when DALI has failed.
    payloads = [encoded(face()) for _ in range(20)]
    second = substitutes(13, epoch=0, num_samples=20, seed=OPTIONS["seed"])[0]
    payloads[13], payloads[second] = b"no image", payloads[second][:1500]
    batches = assert_same_batches(Images(payloads), skip_bad=True)
    assert {record.index for batch in batches for record in batch.bad} == {13, second}


def test_what_the_cpu_can_decode_stays_dalis_error(dali, monkeypatch):
    source, _ = torn_images()
    loader = DaliLoader(source, runtime=Runtime(), skip_bad=True, **OPTIONS)
    monkeypatch.setattr("recognition.data.dali.decode_into", lambda *_: None)
    with pytest.raises(RuntimeError, match="Failed to decode|image"):
        list(loader)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_decoder_agrees_to_a_few_levels(dali):
    source = open_source(RECORDS / "insightface")
    on_gpu = DaliLoader(source, runtime=Runtime(device=torch.device("cuda", 0)), **OPTIONS)
    for ours, theirs in zip(on_gpu, Loader(source, runtime=Runtime(), **OPTIONS)):
        assert ours.images_BHWC.is_cuda
        assert ours.ids_B.equal(theirs.ids_B)
        assert ours.labels_B.equal(theirs.labels_B)
        difference = np.abs(ours.images_BHWC.cpu().numpy().astype(int) - theirs.images_BHWC.numpy())
        assert difference.mean() < 0.5
        assert difference.max() <= 4
