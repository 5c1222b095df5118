"""Graphs that leave PyTorch: ONNX at any batch, and whole-graph capture."""

import numpy as np
import onnxruntime
import pytest
import torch

from recognition.backbones import build_backbone

TINY = ["r_tiny", "mbf_tiny", "vit_tiny"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*TINY, "mbf"])
def test_onnx_takes_any_batch(name, tmp_path):
    torch.manual_seed(0)
    network = build_backbone(name).to(memory_format=torch.channels_last).eval()
    torch.onnx.export(
        network,
        (torch.randn(2, 3, 112, 112),),
        tmp_path / "model.onnx",
        dynamo=False,
        input_names=["input"],
        output_names=["emb"],
        dynamic_axes={"input": {0: "batch"}, "emb": {0: "batch"}},
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for size in (1, 2, 7):
        x_BCHW = torch.randn(size, 3, 112, 112)
        with torch.no_grad():
            want = network(x_BCHW).numpy()
        (got,) = session.run(None, {"input": x_BCHW.numpy()})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    ("name", "gradient_checkpointing"), [("r_tiny", True), ("mbf_tiny", False), ("vit_tiny", True)]
)
def test_training_step_is_one_graph(name, gradient_checkpointing):
    torch.manual_seed(0)
    network = build_backbone(name, gradient_checkpointing=gradient_checkpointing)
    captured = torch.compile(network, backend="aot_eager", fullgraph=True)
    x_BCHW = torch.randn(2, 3, 112, 112)
    captured(x_BCHW).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    batches = [int(value) for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert set(batches) == {1}
