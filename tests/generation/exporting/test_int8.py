"""int8 files of generators: small, near float32, what stays in float32, refused when they are not near."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from generation.exporting.generator_file import edit_labels, export_generator
from generation.exporting.int8 import psnrs_db, write_dynamic, write_static
from recognition.errors import InputError
from recognition.export.calibration import Calibration
from recognition.export.onnx_file import ParityError
from tests.generation.exporting.small_generator import NAMES, checkpoint_of, pictures, session_of, stored_in


def calibration_of(side, count=8):
    images_NHWC = pictures(count + 8, side)
    return Calibration(images_NHWC[:count], images_NHWC[count:], {"set": "waves", "pictures": count})


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The default network at 32 pixels: its size does not depend on that of the pictures."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("default")
    checkpoint = checkpoint_of(("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"), conv_dim=64, repeat_num=6)
    export_generator(checkpoint, folder / "g.onnx")
    (folder / "aside").mkdir()
    found = write_static(folder / "g.onnx", folder / "g-int8.onnx", calibration_of(32), folder / "aside")
    return folder, checkpoint, found


def test_the_default_network_is_less_than_1_to_3_5_of_float32(default):
    folder, checkpoint, _ = default
    weights_bytes = 4 * sum(tensor.numel() for tensor in checkpoint.generator().state_dict().values())
    assert weights_bytes == 4 * 8_430_528
    assert weights_bytes / (folder / "g-int8.onnx").stat().st_size >= 3.5
    assert not list(folder.glob(".*"))


def test_what_is_int8_and_what_is_not(default):
    folder, _, _ = default
    model = onnx.load(folder / "g-int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    kinds = []
    for node in layers:
        source = made_by.get(node.input[1])
        if source is None:
            assert stored[node.input[1]].dtype == np.float32
            kinds.append(f"{node.op_type} float32")
            continue
        values, scales, _ = (stored[name] for name in source.input)
        (axis,) = (entry.i for entry in source.attribute if entry.name == "axis")
        assert (values.dtype, axis) == (np.int8, 0 if node.op_type == "Conv" else 1)
        assert scales.shape == (values.shape[axis],)  # of the outputs, wherever this operator has them
        assert 60 <= np.abs(values.astype(int)).max() <= 64
        kinds.append(f"{node.op_type} int8")
    assert kinds == ["Conv float32", *["Conv int8"] * 14, *["ConvTranspose int8"] * 2, "Conv float32"]


def test_it_is_near_what_pytorch_makes(default):
    folder, checkpoint, found = default
    images_NHWC = calibration_of(32).checked_NHWC
    labels_NA = edit_labels(len(images_NHWC), checkpoint.attributes)
    x_NCHW = images_NHWC.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        wanted = checkpoint.generator()(torch.from_numpy(x_NCHW), torch.from_numpy(labels_NA)).numpy()
    made = session_of(folder / "g-int8.onnx").run(None, {"image": x_NCHW, "labels": labels_NA})[0]
    psnr_N = -10 * np.log10((((made - wanted).astype(np.float64) / 2) ** 2).mean((1, 2, 3)))
    assert psnr_N.mean() >= 30
    assert found["psnr_db_mean"] == pytest.approx(psnr_N.mean(), abs=0.05)  # float32's file is not PyTorch to the bit
    assert psnrs_db(made, wanted) == pytest.approx(psnr_N, abs=1e-3)
    assert psnr_N.max() < 60  # it is 8 bits that were measured


def test_the_file_says_how_it_came_to_be(default):
    folder, _, found = default
    stored, fp32 = stored_in(folder / "g-int8.onnx"), stored_in(folder / "g.onnx")
    assert stored["agreement"] == found
    assert found["pictures"] == 8
    assert stored["source"] == {"sha256": fp32["sha256"]}
    assert (stored["precision"], stored["calibration"]) == ("int8", {"set": "waves", "pictures": 8})
    assert "sha256" not in stored
    assert {key: stored[key] for key in ("attributes", "image_size", "epoch", "ema")} == {
        key: fp32[key] for key in ("attributes", "image_size", "epoch", "ema")
    }


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch(default, batch):
    folder, _, _ = default
    session = session_of(folder / "g-int8.onnx")
    x_NCHW = np.zeros((batch, 3, 32, 32), np.float32)
    x_NCHW[:, :, ::4] = 0.5
    assert session.run(None, {"image": x_NCHW, "labels": np.ones((batch, 5), np.float32)})[0].shape == x_NCHW.shape


def test_ranges_are_those_of_the_calibration_pictures(tmp_path):
    checkpoint, calibration = checkpoint_of(), calibration_of(32)
    export_generator(checkpoint, tmp_path / "g.onnx")
    write_static(tmp_path / "g.onnx", tmp_path / "g-int8.onnx", calibration, tmp_path)
    model = onnx.load(tmp_path / "g-int8.onnx")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    x_NCHW = torch.from_numpy(calibration.images_NHWC.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)
    planes = torch.from_numpy(edit_labels(8, checkpoint.attributes))[:, :, None, None].expand(-1, -1, 32, 32)
    with torch.no_grad():  # what the first layer, which is not rounded, gives to the second
        largest = checkpoint.generator().main[:3](torch.cat([x_NCHW, planes], 1)).max()
    assert float(stored[first.input[1]]) == pytest.approx(float(largest) / 255, rel=1e-4)
    assert int(stored[first.input[2]]) == -128  # nothing is below zero


def spoiled():
    """One channel, which the next layer does not use, has values 3000 times those that share its scale."""
    checkpoint = checkpoint_of()
    checkpoint["generator_ema"]["main.1.weight"][0] *= 3000
    checkpoint["generator_ema"]["main.3.weight"][:, 0] = 0
    return checkpoint


def test_a_file_that_is_not_near_is_refused_and_the_one_before_stays(tmp_path):
    export_generator(spoiled(), tmp_path / "g.onnx")
    (tmp_path / "g-int8.onnx").write_bytes(b"the one before")
    (tmp_path / "aside").mkdir()
    with pytest.raises(ParityError, match=r"g-int8\.onnx: not written, over 8 pictures the PSNR to float32 is"):
        write_static(tmp_path / "g.onnx", tmp_path / "g-int8.onnx", calibration_of(32), tmp_path / "aside")
    assert (tmp_path / "g-int8.onnx").read_bytes() == b"the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "g-int8.onnx", "g.onnx"]


def test_an_opset_without_scales_for_each_channel_is_refused(tmp_path):
    export_generator(checkpoint_of(), tmp_path / "g.onnx", opset=12)
    with pytest.raises(InputError, match="int8 needs --opset 13 or above"):
        write_static(tmp_path / "g.onnx", tmp_path / "g-int8.onnx", calibration_of(32), tmp_path)
    assert not (tmp_path / "g-int8.onnx").exists()


def test_opset_13_has_all_that_int8_needs(tmp_path):
    export_generator(checkpoint_of(NAMES, conv_dim=16), tmp_path / "g.onnx", opset=13)
    write_static(tmp_path / "g.onnx", tmp_path / "g-int8.onnx", calibration_of(32), tmp_path)
    model = onnx.load(tmp_path / "g-int8.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]


def test_dynamic_quantisation_leaves_transposed_convolutions_in_float32(default, tmp_path):
    folder, _, _ = default
    write_dynamic(folder / "g.onnx", tmp_path / "d.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "d.onnx").graph.node]
    assert (kinds.count("ConvInteger"), kinds.count("Conv"), kinds.count("ConvTranspose")) == (16, 0, 2)
    size = (tmp_path / "d.onnx").stat().st_size
    assert (folder / "g-int8.onnx").stat().st_size < size < (folder / "g.onnx").stat().st_size / 3
    x_NCHW = np.zeros((2, 3, 32, 32), np.float32)
    x_NCHW[:, :, ::4] = 0.5
    assert session_of(tmp_path / "d.onnx").run(None, {"image": x_NCHW, "labels": np.ones((2, 5), np.float32)})
