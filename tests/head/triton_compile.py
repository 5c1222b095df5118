"""Compile what the Triton sweep would launch, for a GPU that need not be there; prints what the assembler says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from recognition.head import sweep_kernels, sweep_triton
from tests.head.triton_cases import Case, step

# Bytes of shared memory that a program may have.
SHARED = {80: 163 << 10, 90: 227 << 10}
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.bool: "*i1"}


class Compiler:
    """Stands in for a kernel: a launch compiles it, once for each set of types and constants."""

    def __init__(self, kernel: triton.JITFunction, capability: int) -> None:
        self.kernel, self.capability, self.done = kernel, capability, set()

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self.compile

    def compile(self, *args: object, **options: object) -> None:
        names = self.kernel.arg_names
        constants = {name: options.pop(name) for name in names if name in options}
        given = dict(zip(names, args))
        signature = {name: type_of(given[name]) if name in given else "constexpr" for name in names}
        if (key := str((signature, constants, options))) in self.done:
            return
        self.done.add(key)
        # As at a launch: pointers are aligned, and so are sizes that happen to be multiples of 16.
        aligned = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(names)
            if isinstance(given.get(name), torch.Tensor)
            or (isinstance(given.get(name), int) and given[name] % 16 == 0 and name not in ("first", "tail"))
        }
        source = ASTSource(self.kernel, signature, constants, aligned)
        compiled = triton.compile(source, target=GPUTarget("cuda", self.capability, 32), options=options)
        assert compiled.metadata.shared <= SHARED[self.capability]
        print("COMPILED", self.kernel.__name__, "wgmma" if "wgmma" in compiled.asm["ptx"] else "", flush=True)


def type_of(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


if __name__ == "__main__":
    capability, operands = int(sys.argv[1]), sys.argv[2]
    names = ("normalise_rows", "weigh_classes", "put_targets", "descend_rows")
    stand_ins = SimpleNamespace(**{name: Compiler(getattr(sweep_kernels, name), capability) for name in names})
    sweep_triton._kernels = lambda: stand_ins
    step(Case(G=64, S=128, D=512, operands=operands))
