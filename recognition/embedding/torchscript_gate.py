"""Which TorchScript may run here: an archive is read before it is loaded, its graph before it runs.

TorchScript is a program. Loading one runs the `__setstate__` of its classes; running one can write any file
(`aten::save`) or read one (`aten::from_file`). So there are two gates:

1. Before loading: nothing in the archive may run while it loads. No `__setstate__`, no object of a class in C++, no
   operator outside `aten` and `prim` (constants are folded at load), no entry that torch's reader, which knows no
   upper and lower case and takes the first of two entries, could see otherwise than this gate does. What is read is
   what torch's own reader hands out, from the bytes that are then loaded.
2. Before running: every operator that `forward` can reach, as compiled and with all calls inlined, is one of ALLOWED.
   It is a list of what networks need and not of what is dangerous, so what torch will add tomorrow is refused, too.

Not covered: a network that never ends or fills the memory, and errors in torch's own reader and kernels.
"""

from __future__ import annotations

import pickletools
import re
from io import BytesIO
from typing import Any

import torch

from recognition.errors import InputError

CODE = re.compile(r"code/[\w/.]+\.py")
ENTRIES = re.compile(
    r"data\.pkl|constants\.pkl|(data|constants|traced_inputs)/\d+|traced_inputs\.pkl|version|byteorder"
    r"|\.data/(serialization_id|version)|\.storage_alignment|\.format_version|extra/.*|code/[\w/.]+\.py\.debug_pkl|"
    + CODE.pattern
)
# Words in the archive's code that make something run at load, or name what may not run at all.
FORBIDDEN_WORDS = re.compile(r"\b(__setstate__|classes|save|from_file)\b")
OPERATOR_SPACES = re.compile(r"\bops\b(?!\.(?:aten|prim)\.)")
EXECUTES = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")  # torch writes none of these opcodes

_PRIM = """
Constant ConstantChunk DictConstruct GetAttr If ListConstruct ListUnpack Loop NumToTensor RaiseException SetAttr
TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized abs data device dtype is_cuda itemsize layout max min
requires_grad unchecked_cast unchecked_unwrap_optional
"""
_ATEN = """
Bool Float FloatImplicit Int IntImplicit ScalarImplicit __and__ __contains__ __derive_index __getitem__ __interpolate
__is__ __isnot__ __not__ __or__ __range_length __round_to_ __upsample_bilinear _convolution _convolution_mode
_log_softmax _native_batch_norm_legit_no_training _set_item _shape_as_tensor _softmax abs adaptive_avg_pool1d
adaptive_avg_pool2d adaptive_max_pool2d add addcmul addmm alias all alpha_dropout amax amin any append arange argmax
avg_pool1d avg_pool2d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm broadcast_tensors cat ceil celu
channel_shuffle chunk clamp clamp_max clamp_min clone concat concatenate constant_pad_nd contiguous conv1d conv2d
conv_transpose2d copy cos cumsum detach dim div dropout einsum elu embedding empty empty_like eq erf exp expand
expand_as expm1 feature_dropout fft_irfft2 fft_rfft2 fill flatten flip floor floor_divide floordiv format frobenius_norm
full full_like gather ge gelu glu grid_sampler group_norm gt hardsigmoid hardswish hardtanh index index_select
instance_norm is_floating_point isfinite isinf isnan layer_norm le leaky_relu len lerp linalg_norm linalg_vector_norm
linear linspace list log log1p log2 log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul max
max_pool1d max_pool2d maximum mean meshgrid min minimum mish mm movedim mul multi_head_attention_forward narrow ne neg
new_full new_ones new_zeros norm normal numel numpy_T ones ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu
prod reciprocal reflection_pad2d relu relu6 remainder repeat repeat_interleave replication_pad2d reshape reshape_as
rms_norm roll rot90 round rrelu rsqrt rsub scalar_tensor scaled_dot_product_attention scatter select selu sigmoid sign
silu sin size slice softmax softplus softsign split split_with_sizes sqrt square squeeze stack std sub sum swapaxes
swapdims t tan tanh tensor tensor_split threshold tile to transpose tril triu true_divide type_as unbind unflatten
unfold unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest2d var var_mean view view_as warn where zero
zeros zeros_like
"""
ALLOWED = frozenset([*(f"prim::{name}" for name in _PRIM.split()), *(f"aten::{name}" for name in _ATEN.split())])


def require_loadable(archive: bytes, what: str) -> None:
    """InputError, beginning with `what`, unless loading this TorchScript archive runs nothing that came with it."""
    try:
        reader = torch._C.PyTorchFileReader(BytesIO(archive))
        names = reader.get_all_records()
        if len({name.lower() for name in names}) != len(names):
            raise InputError(f"{what}: two entries of the archive have one name; refused, nothing was executed")
        for name in names:
            if not ENTRIES.fullmatch(name) or ".." in name:
                raise InputError(f"{what} holds {name[:80]!r}, which is no part of a network; refused, nothing was run")
            if CODE.fullmatch(name):
                _require_harmless_code(_decoded(reader.get_record(name)), f"{what}: {name}")
            elif name in ("data.pkl", "constants.pkl"):
                _require_harmless_values(reader.get_record(name), f"{what}: {name}")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{what} is not a readable TorchScript archive; is it complete? Copy it again") from error


def require_runnable(graph: Any, what: str) -> None:
    """InputError, beginning with `what`, unless all operators of a graph whose calls are inlined are ALLOWED."""
    # aten::relu_ is aten::relu in place.
    kinds = {node.kind() for node in _nodes(graph)}
    unknown = sorted(kind for kind in kinds if kind not in ALLOWED and kind.removesuffix("_") not in ALLOWED)
    if unknown:
        raise InputError(
            f"{what} uses {', '.join(unknown[:5])}, not among the operators that a recogniser needs (some can write or "
            "read files); refused, nothing was executed. Where you trust its origin, export it to ONNX there"
        )


def _require_harmless_code(code: str, what: str) -> None:
    found = FORBIDDEN_WORDS.search(code) or OPERATOR_SPACES.search(code)
    if found:
        line = code.count("\n", 0, found.start()) + 1
        raise InputError(
            f"{what}, line {line}: {found[0]!r} can run something while the model is loaded, or touch files; refused, "
            "nothing was executed. Where you trust its origin, export it to ONNX there"
        )


def _require_harmless_values(pickled: bytes, what: str) -> None:
    """No object of a class in C++: its own code would run as it is made. The pickle is only read, never executed."""
    for opcode, value, place in pickletools.genops(pickled):
        foreign = opcode.name == "GLOBAL" and "classes" in re.split(r"[ .]", value)
        if foreign or opcode.name in EXECUTES:
            raise InputError(f"{what}, byte {place}: holds {str(value)[:80]!r}; refused, nothing was executed")


def _decoded(code: bytes) -> str:
    """The text as torch's own parser sees it; ValueError for what it never writes."""
    return code.decode("ascii")


def _nodes(block: Any) -> list[Any]:
    """All nodes of a graph or block, and of the blocks inside them."""
    found = []
    for node in block.nodes():
        found.append(node)
        for inner in node.blocks():
            found += _nodes(inner)
        # A graph kept as a value (a closure, a forked task) would be run out of sight.
        for name in node.attributeNames():
            if node.kindOf(name) in ("g", "gs"):
                raise InputError(f"{node.kind()} carries a graph of its own; refused, nothing was executed")
    return found
