"""Memory and time of heads that materialise the logits of their shard, as arcface_torch does, for comparison.

Bytes per class and per logit are counted from a description of their design. One number is fitted: 26 bytes per logit
of the 2021 design make the model-parallel column of the published table for 8 V100 (1 M and 5.5 M identities) come out.
"""

from __future__ import annotations

from dataclasses import dataclass

from recognition.planning.backbone_trace import BackboneTrace
from recognition.planning.machines import Machine
from recognition.planning.memory import Far, Memory, backbone_state
from recognition.planning.setting import Setting


@dataclass(frozen=True)
class DenseHead:
    """Bytes for each number of a class, of a class in use, and for each logit; how much it moves in a step.

    `sharded` false is plain data parallelism: every rank has all classes and computes with its own images.
    """

    name: str
    class_bytes: int
    active_bytes: int
    logit_bytes: int
    dense_optimizer: bool
    sharded: bool = True

    def classes(self, setting: Setting) -> int:
        """K, classes that a rank holds."""
        return setting.shard if self.sharded else setting.identities

    def active(self, setting: Setting) -> int:
        """S, classes that a rank computes with."""
        return setting.drawn if self.sharded else setting.identities

    def images(self, setting: Setting) -> int:
        """Images that a rank's logits are for."""
        return setting.global_batch if self.sharded else setting.batch


# 2021: weight and momentum of a class; of one in use a copy of both, the gradient, the unit centre and its gradient.
PARTIAL_FC_2021 = DenseHead("arcface_torch_2021", 8, 20, 26, dense_optimizer=False)
# Today's PartialFC_V2: weight, momentum and a dense gradient of every class, whatever the sample rate.
PARTIAL_FC_V2 = DenseHead("arcface_torch", 12, 14, 18, dense_optimizer=True)
PEERS = {head.name: head for head in (PARTIAL_FC_V2, PARTIAL_FC_2021)}


def peer_memory_of(setting: Setting, trace: BackboneTrace, machine: Machine, head: DenseHead) -> Memory:
    """Memory of a rank when all logits are there; `trace` without buckets, as gradients are copied into them."""
    D, K, S = setting.embedding_size, head.classes(setting), head.active(setting)
    slots = 2 if setting.optimizer == "adamw" else 1
    parts = backbone_state(setting, trace) | {
        "gradients": trace.gradients_bytes,
        "centres and their optimizer state": K * D * (head.class_bytes + 4 * (slots - 1)),
        "copies and gradients of centres in use": S * D * head.active_bytes,
        "DDP buckets of the centres": 0 if head.sharded else K * D * 4,
        "logits": S * head.images(setting) * head.logit_bytes,
        "input batch": trace.input_bytes,
        "activations": trace.activations_bytes,
        "CUDA context or process": machine.context_bytes,
    }
    return Memory({name: size for name, size in parts.items() if size}, "backward pass of the head", Far(0, 0))
