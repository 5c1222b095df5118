"""A parser as ONNX, which takes pictures in [-1, 1] as all ONNX files here do, and agrees with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from generation.parsing.bisenet import BiSeNet
from recognition.export.onnx_file import export_onnx

ONNX_FORMAT = "arcscale.parsing.onnx.1"


class TakesImg11(nn.Module):
    """The network behind pictures in [-1, 1], (B, 3, H, W); its logits, (B, C, H, W)."""

    def __init__(self, net: BiSeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, img11_BCHW: Tensor) -> Tensor:
        """See the class."""
        return self.net((img11_BCHW + 1) / 2)


def export_parser(net: BiSeNet, path: Path, facts: dict[str, Any]) -> float:
    """Write ONNX for pictures of `facts["image_size"]`, any batch size; the largest relative difference from PyTorch.

    ParityError, and no file, where ONNX Runtime differs from PyTorch by more than recognition/export/onnx_file.py has.
    """
    meta = {**facts, "format": ONNX_FORMAT, "file": Path(facts["file"]).name}
    return export_onnx(TakesImg11(net), path, meta, output="logits")
