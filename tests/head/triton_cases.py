"""What the Triton sweep is tried on; run by itself, it does so in Triton's interpreter and saves what came out."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import torch

from recognition.head import CombinedMarginLoss, sweep_triton
from recognition.head.objective import Objective
from recognition.head.sweep import Coefficients, Part, Sample

LR, MOMENTUM, DECAY = 0.3, 0.9, 0.02


class Case(NamedTuple):
    """A step over S active classes, the last `tail` of which take part by chance, with `batches` of G samples."""

    G: int = 12
    S: int = 37
    D: int = 40
    tail: int = 0
    filter: float = 0.0
    operands: str = "fp32"
    keep: bool = False
    batches: int = 1
    chunk_bytes: int = sweep_triton.CHUNK_BYTES
    plain: bool = False

    @property
    def objective(self) -> Objective:
        return Objective(16.0) if self.plain else CombinedMarginLoss(16.0, 1.0, 0.5, 0.0, self.filter)

    @property
    def offset(self) -> float:
        return 3.0

    def rows(self) -> torch.Tensor:
        """Float32 (S, 1, 2, D), cut out of a longer table; the last centre is of length 0."""
        table = torch.randn(self.S + 1, 1, 2, self.D, generator=torch.Generator().manual_seed(5))
        table[:, :, 1] *= 0.1
        table[self.S - 1, :, 0] = 0
        return table[: self.S]

    def parts(self) -> list[tuple[Sample, Coefficients]]:
        """Batches whose first samples share a target, whose third has none here, whose fourth has the last class."""
        generator = torch.Generator().manual_seed(6)
        parts = []
        for _ in range(self.batches):
            x_GD = torch.nn.functional.normalize(torch.randn(self.G, self.D, generator=generator))
            slot_G = torch.randint(self.S, (self.G,), generator=generator)
            slot_G[1], slot_G[2], slot_G[3] = slot_G[0], -1, self.S - 1
            active_T = torch.rand(self.tail, generator=generator) < 0.5 if self.tail else None
            sample = Sample(x_GD, slot_G, slot_G, torch.rand(self.G, generator=generator), active_T)
            scale_G = 0.05 * (1 + torch.rand(self.G, generator=generator))
            parts.append((sample, Coefficients(scale_G, -10 * torch.rand(self.G, generator=generator))))
        return parts


_SMALL = 128 * (12 + 40) * 4

CASES = {
    **{
        f"{operands}-{'keep' if keep else 'recompute'}": Case(operands=operands, keep=keep)
        for operands in ("fp32", "tf32", "bf16")
        for keep in (False, True)
    },
    "no-margin": Case(plain=True, G=5, S=3, D=16),
    "one-class": Case(G=4, S=1, D=17),
    "filter": Case(filter=0.1),
    "filter-bf16-keep": Case(filter=0.1, operands="bf16", keep=True),
    "tail": Case(tail=12),
    "tail-is-all": Case(tail=37, keep=True),
    "chunks": Case(S=300, chunk_bytes=_SMALL),
    "chunks-tail-filter-keep": Case(S=300, tail=100, filter=0.05, keep=True, chunk_bytes=_SMALL),
    "chunks-batches": Case(S=200, batches=3, chunk_bytes=_SMALL, D=48),
    "batches-keep": Case(batches=2, keep=True),
    "batches-tail-bf16": Case(batches=2, tail=9, operands="bf16"),
    "many-samples": Case(G=150, S=70, D=33),
    "wide": Case(G=70, S=40, D=300),
    "wide-bf16": Case(G=70, S=70, D=300, operands="bf16"),
}


def step(case: Case, device: str = "cpu", lr: float | torch.Tensor = LR) -> dict[str, torch.Tensor]:
    """Sums and numerator of the first batch, and the rows after the step."""
    before, sweep_triton.CHUNK_BYTES = sweep_triton.CHUNK_BYTES, case.chunk_bytes
    try:
        rows_SCPD = case.rows().to(device)
        options = {"operands": case.operands}
        parts, swept = [], []
        for sample, by in case.parts():
            sample = Sample(*(None if tensor is None else tensor.to(device) for tensor in sample))
            by = Coefficients(*(tensor.to(device) for tensor in by))
            swept.append(
                sweep_triton.sweep_forward(sample, rows_SCPD, case.objective, case.offset, keep=case.keep, **options)
            )
            parts.append(Part(sample, case.objective, case.offset, by, swept[-1].kept, swept[-1].inverse_R1))
        update = sweep_triton.SGDStep(MOMENTUM, lr)
        sweep_triton.sweep_backward(parts, rows_SCPD, update, decay=DECAY, **options)
    finally:
        sweep_triton.CHUNK_BYTES = before
    results = {"sums": swept[0].sums_GQ, "numerator": swept[0].numerator_GD, "rows": rows_SCPD}
    return {name: tensor.cpu() for name, tensor in results.items()}


def mend_interpreter() -> None:
    """Teach the interpreter bfloat16, whose bits it keeps in integers: it multiplies these, and cuts casts off."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    cast_impl, create_dot = builder.cast_impl, builder.create_dot

    def widened(tensor: handle) -> handle:
        bits = tensor.data.astype(np.uint32) << np.uint32(16)
        return handle(bits.view(np.float32), tl.float32)

    def rounding_cast(self: builder, src: handle, dst_type: tl.dtype) -> handle:
        if (src.dtype.scalar, dst_type.scalar) != (tl.float32, tl.bfloat16):
            return cast_impl(self, src, dst_type)
        rounded = torch.from_numpy(np.array(src.data)).bfloat16().view(torch.int16).numpy()
        return handle(rounded.view(np.uint16).reshape(src.data.shape), tl.bfloat16)

    def widening_dot(self: builder, a: handle, b: handle, *rest: object) -> handle:
        return create_dot(self, *(widened(t) if t.dtype.scalar == tl.bfloat16 else t for t in (a, b)), *rest)

    # The interpreter binds some casts to the name when the class is made.
    for name in ("cast_impl", "create_fp_trunc"):
        setattr(builder, name, rounding_cast)
    builder.create_dot = widening_dot


if __name__ == "__main__":
    torch.set_num_threads(1)
    mend_interpreter()
    torch.save({name: step(case) for name, case in CASES.items()}, sys.argv[1])
