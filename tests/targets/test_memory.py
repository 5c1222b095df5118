"""Sets of pairs are held as their files have them: what is decoded at any time is bounded, whatever the set's size."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest

from recognition.embedding.models import Embedder
from recognition.runtime import Runtime
from recognition.targets.opening import open_target
from recognition.targets.target import Options
from recognition.verification.pairs import load_pairs
from tests.pictures import jpeg

SIDE, PAIRS = 112, 600
DECODED_BYTES = 2 * PAIRS * SIDE * SIDE * 3
BATCH = 16
# Of those read ahead, three times 64 are held at most; beside them a batch or two as pictures, and stacked.
BOUND_BYTES = (3 * 64 + 4 * BATCH) * SIDE * SIDE * 3


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """1,200 pictures that are 45 MB once decoded, of two payloads that the pickle stores once."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    payloads = [jpeg(0, SIDE), jpeg(1, SIDE)]
    images = [payloads[index % 4 == 3] for index in range(2 * PAIRS)]
    path.write_bytes(pickle.dumps((images, [pair % 2 == 0 for pair in range(PAIRS)])))
    return path


@pytest.mark.parametrize("as_list", [False, True])
def test_verification_never_has_all_pictures_decoded(large, as_list, tmp_path):
    text = large
    if as_list:
        (tmp_path / "0.jpg").write_bytes(jpeg(0, SIDE))
        (tmp_path / "1.jpg").write_bytes(jpeg(1, SIDE))
        for index in range(2, 2 * PAIRS):
            os.link(tmp_path / f"{index % 2}.jpg", tmp_path / f"{index}.jpg")
        text = tmp_path / "list.csv"
        text.write_text("".join(f"{2 * k}.jpg,{2 * k + 1}.jpg,{k % 2}\n" for k in range(PAIRS)))
    model = Embedder(lambda x_BCHW: x_BCHW[:, :, ::40, ::40].flatten(1) + 0.02, None, {"file": "m.onnx"})

    def verify():
        target = open_target(str(text), "large", Options(replicates=0))
        target.score(model, runtime=Runtime(), batch_size=BATCH)

    assert peak_of(verify) < BOUND_BYTES
    assert BOUND_BYTES < DECODED_BYTES / 4


def test_load_pairs_gives_users_all_of_them_in_one_array(large):
    """The public form is an array; it guards the test above, too: that much would be seen."""
    found = []
    assert peak_of(lambda: found.append(load_pairs(large, progress=False))) > DECODED_BYTES
    assert isinstance(found[0].images, np.ndarray)
    assert (found[0].images.shape, found[0].images.dtype) == ((2 * PAIRS, SIDE, SIDE, 3), np.uint8)
