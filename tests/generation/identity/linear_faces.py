"""Finders that find what a test says, and a recogniser that is one matrix, for hand-made expectations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generation.detection import Found
from recognition.faces.alignment import TEMPLATE_52

LINE_52 = torch.tensor([[4.0, 4.0]] * 5)  # five points on one spot: no pose


def face(box=(4.0, 4.0, 19.0, 19.0), points="good", score=0.9) -> Found:
    """A find with the template's points inside the box, points on one spot ("bad"), or none (None)."""
    x1, y1, x2, y2 = box
    template = torch.from_numpy(TEMPLATE_52) / 112 * torch.tensor([x2 - x1, y2 - y1]) + torch.tensor([x1, y1])
    points_52 = {"good": template.float(), "bad": LINE_52, None: None}[points]
    return Found(torch.tensor(box), points_52, score)


class ByMark:
    """A FaceFinder that reads what it finds off the picture: the number round(100 * r) of the upper left pixel.

    It stands for one of `faces`; none beyond their end. `calls` holds how many pictures each call had.
    """

    def __init__(self, *faces: Found | None):
        self.faces, self.calls, self.graphs = faces, [], 0

    def __call__(self, img01_BCHW: Tensor, keys=None) -> list[Found | None]:
        self.calls.append(len(img01_BCHW))
        self.graphs += torch.is_grad_enabled() or img01_BCHW.requires_grad
        marks = (100 * img01_BCHW[:, 0, 0, 0]).round().int().tolist()
        return [self.faces[mark] if mark < len(self.faces) else None for mark in marks]


def marked(mark: int | list[int], *, side: int = 24, seed: int = 0, dtype=torch.float32) -> Tensor:
    """Random pictures img01 (B, 3, side, side) with these marks."""
    marks = [mark] if isinstance(mark, int) else mark
    img01 = torch.rand(len(marks), 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    img01 = 0.2 + 0.6 * img01
    img01[:, 0, 0, 0] = torch.tensor(marks, dtype=dtype) / 100
    return img01


class LinearFaces(nn.Module):
    """16 pixels square -> 8 numbers by one matrix; counts the crops that it embeds."""

    image_size, embedding_size = 16, 8

    def __init__(self, dtype=torch.float32):
        super().__init__()
        weight = torch.randn(3 * 16 * 16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        self.calls = []

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def forward(self, img01_BCHW: Tensor) -> Tensor:
        self.calls.append(len(img01_BCHW))
        return (img01_BCHW.flatten(1).to(self.weight.dtype) - 0.5) @ self.weight
