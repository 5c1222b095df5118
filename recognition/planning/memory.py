"""Memory of one rank by part, at the moment of a step that needs most of it.

A step has four such moments: the backbone's forward pass, the head's sweep at its end, the backward pass, during which
the head holds what its update will need, and that update. G global batch, D embedding, S active classes of the shard,
c centres of each, R = N * c rows of a block of N classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from recognition.head.mapped import RESIDENT_BYTES
from recognition.head.partial_fc import KEPT_BYTES
from recognition.head.sweep import BLOCK_CLASSES
from recognition.planning.backbone_trace import BackboneTrace, trace_backbone
from recognition.planning.machines import Machine
from recognition.planning.setting import Setting


class Far(NamedTuple):
    """Bytes of one rank outside its device: in the memory of the host, and in a file."""

    host_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class Memory:
    """Bytes on the device by part at the worst `moment`, and elsewhere."""

    parts: dict[str, int]
    moment: str
    far: Far

    @property
    def tensor_bytes(self) -> int:
        """All tensors: everything but what the process takes before it holds one."""
        return self.total_bytes - self.parts.get("CUDA context or process", 0)

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def backbone_of(setting: Setting, *, gpu: bool) -> BackboneTrace:
    """The trace of the setting's backbone at its batch."""
    return trace_backbone(
        setting.network,
        batch=setting.batch,
        precision=setting.precision,
        embedding_size=setting.embedding_size,
        image_size=setting.image_size,
        dropout=setting.dropout,
        gradient_checkpointing=setting.gradient_checkpointing,
        buckets=setting.ranks > 1 or setting.gradient_acc > 1,
        gpu=gpu,
    )


def memory_of(setting: Setting, trace: BackboneTrace, machine: Machine) -> Memory:
    """Memory of a rank that trains with the streamed head."""
    always = backbone_state(setting, trace) | _table(setting, machine)
    always["CUDA context or process"] = machine.context_bytes
    held = _held_by_head(setting, machine)
    gradients = {} if setting.ranks > 1 else {"gradients": trace.gradients_bytes}
    if setting.gradient_acc > 1:
        # Those of the micro-steps before are there during all of the next; the trace leaves them out, as with buckets.
        always |= gradients
    # Working memory of the head stays from step to step; that of the kernels on a GPU goes back to its allocator.
    always |= {"rows of the step": rows_bytes(setting), "blocks of the sweeps": working_bytes(setting, machine)}
    if not machine.is_gpu:
        always |= {"weights kept for the second sweep": held.pop("weights kept for the second sweep")}
    images = {"input batch": trace.input_bytes}
    moments = {
        "forward pass": images | _activations(trace, trace.forward_peak_bytes),
        "sweep of the head": images
        | _activations(trace, trace.input_bytes + trace.activations_bytes)
        | held
        | {"passing tensors of the sweep": forward_passing_bytes(setting, machine)},
        "backward pass": images | _activations(trace, trace.backward_peak_bytes) | held,
        "update of the centres": gradients
        | held
        | {"passing tensors of the sweep": backward_passing_bytes(setting, machine)},
    }
    moment, parts = max(moments.items(), key=lambda item: sum(item[1].values()))
    return Memory({name: size for name, size in (always | parts).items() if size}, moment, _far(setting))


def backbone_state(setting: Setting, trace: BackboneTrace) -> dict[str, int]:
    """What the backbone holds from step to step."""
    slots = 2 if setting.optimizer == "adamw" else int(setting.momentum > 0)
    return {
        "backbone weights": trace.weights_bytes,
        "moving average": trace.weights_bytes if setting.moving_average else 0,
        "optimizer state": slots * trace.gradients_bytes,
        # Gradients are views of the buckets.
        "DDP buckets (gradients)": trace.gradients_bytes if setting.ranks > 1 else 0,
    }


def kept_bytes(setting: Setting) -> int:
    """Bytes of the weights of one gathered batch in bfloat16, (G, S * c)."""
    return 2 * setting.global_batch * setting.active * setting.subcenters


def keeps(setting: Setting, machine: Machine) -> bool:
    """Whether the sweep keeps them; "auto" does up to a limit."""
    if setting.mode == "auto":
        return setting.gradient_acc * kept_bytes(setting) <= KEPT_BYTES["cuda" if machine.is_gpu else "cpu"]
    return setting.mode == "keep"


def working_bytes(setting: Setting, machine: Machine) -> int:
    """What the blocks of both sweeps use over and over: unit centres, cosines, weights as a factor, gradients."""
    rows = _block_rows(setting)
    unit, weights = rows * setting.embedding_size * 4, setting.global_batch * rows * 4
    narrow = 2 if operands_of(setting, machine) == "bf16" else 1
    # Weights are brought into the factors' format where they are not in it: kept ones are in bfloat16.
    factor = weights // narrow if keeps(setting, machine) != (narrow == 2) else 0
    gradients = (3 if setting.gradient_acc > 1 else 2) * unit
    return unit // narrow + weights + factor + gradients


def forward_passing_bytes(setting: Setting, machine: Machine) -> int:
    """What else the forward sweep needs at once, numerators and columns included."""
    G, D = setting.global_batch, setting.embedding_size
    rows, block = _block_rows(setting), 0
    if operands_of(setting, machine) == "bf16":
        # The CPU's product comes in bfloat16; weights that are not kept are narrowed for the next one.
        block = G * rows * 2 * (1 if keeps(setting, machine) else 2) + G * D * 2
    return block + _subcenter_bytes(setting, G * rows * 4) + _column_bytes(setting)


def backward_passing_bytes(setting: Setting, machine: Machine) -> int:
    """What else the second sweep and its update need at once."""
    G, D = setting.global_batch, setting.embedding_size
    rows, narrow = _block_rows(setting), operands_of(setting, machine) == "bf16"
    # Scaled embeddings of every batch, and what their narrowing passes through.
    scaled = setting.gradient_acc * G * D * 4 + (G * D * 4 if narrow else 0)
    product = max(rows * D * 2, 0 if keeps(setting, machine) else G * rows * 2) if narrow else 0
    spread = 0 if keeps(setting, machine) else _subcenter_bytes(setting, G * rows * 4)
    return scaled + product + spread


def operands_of(setting: Setting, machine: Machine) -> str:
    """What the head's products take, "auto" resolved as PartialFC does."""
    if setting.operands == "auto":
        return "tf32" if machine.is_gpu else "fp32"
    return setting.operands


def rows_bytes(setting: Setting) -> int:
    """The working copy of the rows of a step, none at rate 1."""
    return 0 if setting.sample_rate == 1 else setting.active * setting.row_bytes


def _activations(trace: BackboneTrace, total: int) -> dict[str, int]:
    """`total` bytes of a moment in the backbone, cut into what is held for backward and what passes."""
    held = min(trace.activations_bytes, total - trace.input_bytes)
    return {"activations": held, "passing tensors of the backbone": total - trace.input_bytes - held}


def _table(setting: Setting, machine: Machine) -> dict[str, int]:
    """What the centres take on the device from step to step."""
    table = (setting.shard + 1) * setting.row_bytes
    clock = 0 if setting.sample_rate == 1 else (setting.shard + 1) * 4
    if setting.centers == "memory":
        return {"centres and their optimizer state": table, "step of each class's last touch": clock}
    if machine.is_gpu:
        return {}
    if setting.centers == "host":
        return {"centres and their optimizer state": table, "step of each class's last touch": clock}
    return {"resident pages of the table": min(table, RESIDENT_BYTES), "step of each class's last touch": clock}


def _far(setting: Setting) -> Far:
    table = (setting.shard + 1) * setting.row_bytes
    clock = (setting.shard + 1) * 4
    if setting.centers == "memory":
        return Far(0, 0)
    return Far(table + clock, 0) if setting.centers == "host" else Far(clock, table)


def _held_by_head(setting: Setting, machine: Machine) -> dict[str, int]:
    """What lives from the sweep to the update."""
    G, D = setting.global_batch, setting.embedding_size
    return {
        "gathered embeddings": setting.gradient_acc * G * (D + 4) * 4,
        "weights kept for the second sweep": setting.gradient_acc * kept_bytes(setting)
        if keeps(setting, machine)
        else 0,
    }


def _column_bytes(setting: Setting) -> int:
    """The numerator (G, D), and the columns [N | slope * w_y | sums, value, cosine, slope by norm] that are summed."""
    G, D = setting.global_batch, setting.embedding_size
    return G * (D + 2 * D + 4) * 4


def _block_rows(setting: Setting) -> int:
    c = setting.subcenters
    return min(setting.active, max(1, BLOCK_CLASSES // c)) * c


def _subcenter_bytes(setting: Setting, weights: int) -> int:
    """The nearest of several centres: its cosine, its number (int64), and the weights spread to where they belong."""
    c = setting.subcenters
    return 0 if c == 1 else weights + 3 * weights // c
