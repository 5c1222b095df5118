"""Which detector a file is, and one clear error for every other file."""

import numpy as np
import onnxruntime
import pytest

from recognition.errors import InputError
from recognition.faces.opening import open_detector
from recognition.faces.scrfd import SCRFD
from recognition.faces.yunet import YuNet
from tests.faces.small_models import write_model, write_scrfd, write_yunet


@pytest.mark.parametrize(("write", "kind"), [(write_yunet, YuNet), (write_scrfd, SCRFD)])
def test_kinds_are_told_by_their_outputs(tmp_path, write, kind):
    assert isinstance(open_detector(write(tmp_path / "model.onnx", {})), kind)


@pytest.mark.parametrize("name", ["yunet_n_dynamic.onnx", "scrfd_500m_bnkps.onnx"])
def test_published_models_are_known(shared_dir, name):
    if not (shared_dir / "models" / name).is_file():
        pytest.skip(f"no models/{name}")
    kind = YuNet if name.startswith("yunet") else SCRFD
    assert isinstance(open_detector(shared_dir / "models" / name), kind)


def test_a_missing_file_says_where_models_are_and_under_which_licence(tmp_path):
    with pytest.raises(InputError) as error:
        open_detector(tmp_path / "nothing.onnx")
    for words in ("nothing.onnx does not exist", "OpenCV Zoo", "face_detection_yunet", "MIT", "non-commercial"):
        assert words in str(error.value)


def test_files_that_are_no_models_are_refused(tmp_path):
    folder = tmp_path / "a folder with a long name" / "x" / ("y" * 100)
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(b"half a download")
    with pytest.raises(
        InputError, match=r"a\.onnx is not a model .*Protobuf parsing failed\); give an \.onnx file, or"
    ):
        open_detector(folder / "a.onnx")


def test_a_clone_without_its_large_files_is_told(tmp_path):
    (tmp_path / "a.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:8f\nsize 232589\n")
    with pytest.raises(InputError, match="Git LFS's note of where it is; run `git lfs pull`"):
        open_detector(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("outputs", "shape", "words"),
    [
        ({"emb": (1, 512)}, (1, 3, 112, 112), r"no face detector known here, it puts out emb \[1, 512\]"),
        # SCRFD without points cannot be aligned by.
        ({str(i): (8, (1, 1, 1, 4, 4, 4)[i]) for i in range(6)}, (1, 3, 64, 64), "no face detector known here"),
        ({"emb": (1, 512)}, (1, 512), r"takes input.1 \[1, 512\], not one picture"),
        ({"emb": (1, 512)}, (1, 64, 64, 3), "not one picture"),
    ],
    ids=["recogniser", "no points", "vector", "NHWC"],
)
def test_models_of_other_kinds_are_refused(tmp_path, outputs, shape, words):
    tensors = {name: np.zeros(size, np.float32) for name, size in outputs.items()}
    with pytest.raises(InputError, match=words):
        open_detector(write_model(tmp_path / "a.onnx", tensors, shape))


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="ONNX Runtime has a GPU here"
)
def test_no_gpu_is_an_error_and_not_a_slow_run(tmp_path):
    with pytest.raises(InputError, match="install onnxruntime-gpu"):
        open_detector(write_yunet(tmp_path / "a.onnx", {}), device="cuda")


def test_another_file_or_threshold_has_another_name(tmp_path):
    """A pack that goes on after a stop must not mix the finds of two detectors."""
    one = write_yunet(tmp_path / "a.onnx", {})
    other = write_yunet(tmp_path / "b.onnx", {(8, 0): (1, 1, (0,) * 4, (0,) * 10)})
    scrfd = write_scrfd(tmp_path / "c.onnx", {})
    names = {repr(open_detector(path, min_score=score)) for path in (one, other, scrfd) for score in (0.4, 0.5)}
    assert len(names) == 6
    assert repr(open_detector(one)) == repr(open_detector(one.rename(tmp_path / "moved.onnx")))
