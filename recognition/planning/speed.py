"""How long a step takes and what bounds it: estimates from counted operations and bytes, data-sheet rates, and a few
shares of those rates that published runs reached.

b images per rank, G of all W ranks, D embedding, S active classes of the shard, c centres of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from recognition.planning.backbone_trace import BackboneTrace
from recognition.planning.machines import (
    DISK_BYTES_S,
    HOST_BYTES_S,
    LATENCY,
    SUSTAINED_BANDWIDTH,
    Machine,
    link_bandwidth,
)
from recognition.planning.memory import keeps, operands_of, rows_bytes
from recognition.planning.peers import DenseHead
from recognition.planning.setting import Setting

# Bytes read and written for every number that an innermost module puts out, both passes, un-fused, at 16 bits.
BYTES_A_LEAF_ELEMENT = 18
# Share of products-then-traffic at sustained rates that backbones reach: r50 in fp16 on 8 V100 (625 to 764 images/s
# a GPU, NCHW) half of it; channels_last is 1.35 times as fast (timm, RTX 3090). On a CPU nearly all (r18, r50).
NCHW_EFFICIENCY = 0.5
CHANNELS_LAST_EFFICIENCY = 0.67
CPU_EFFICIENCY = 0.9
# Share of the sustained rates for products as slim as the head's (K = D = 512), and for element-wise passes.
PRODUCT_EFFICIENCY = 0.7
PASS_EFFICIENCY = 0.75
# Passes over float32 logits of arcface_torch, in bytes per logit, and bytes per number of an updated class.
DENSE_LOGIT_TRAFFIC = 128
DENSE_CLASS_TRAFFIC = 32


class Transfer(NamedTuple):
    """What one rank sends in a step over one link, and the time if nothing hides it."""

    bytes: float
    seconds: float


@dataclass(frozen=True)
class Speed:
    """Seconds of a (micro-)step by part, communication before hiding, and what the parts add up to."""

    seconds: dict[str, float]
    transfers: dict[str, Transfer]
    backbone_flop: float
    head_flop: float
    images: int

    @property
    def step_s(self) -> float:
        """Seconds of a whole step."""
        return sum(self.seconds.values())

    @property
    def images_per_s(self) -> float:
        """Of all ranks together, when the data keep up."""
        return self.images / self.step_s

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        return max(self.seconds, key=self.seconds.__getitem__)


def speed_of(setting: Setting, trace: BackboneTrace, machine: Machine, *, link: str, ranks_a_node: int = 8) -> Speed:
    """Estimate for the streamed head; `link` joins the ranks at its slowest place."""
    G, D, S, W = setting.global_batch, setting.embedding_size, setting.active, setting.ranks
    efficiency = CHANNELS_LAST_EFFICIENCY if machine.is_gpu else CPU_EFFICIENCY
    backbone = _backbone_seconds(setting, trace, machine, efficiency)
    keep = keeps(setting, machine)
    head_flop = (6 if keep else 8) * G * S * setting.subcenters * D
    traffic = 3 * S * setting.row_bytes + (4 * G * S * setting.subcenters if keep else 0)
    network = _Network(machine, link, W)
    share = (W - 1) / W * 4
    transfers = {
        "gather embeddings": network.transfer(share * G * (D + 4)),
        "reduce-scatter gradients and sums": network.transfer(share * G * (2 * D + 4)),
        "gather sums": network.transfer(share * G * 3),
        "all-reduce of the backbone (DDP)": network.transfer(
            2 * (W - 1) / W * trace.gradients_bytes / setting.gradient_acc
        ),
    }
    seconds = backbone | {
        "products of the head": head_flop / (machine.flops(operands_of(setting, machine)) * PRODUCT_EFFICIENCY),
        "memory traffic of the head": traffic / (machine.bandwidth * SUSTAINED_BANDWIDTH * PASS_EFFICIENCY),
    }
    in_backbone = sum(backbone.values())
    hidden = "all-reduce of the backbone (DDP)"
    seconds["collectives of the head"] = sum(t.seconds for name, t in transfers.items() if name != hidden)
    seconds["DDP beyond the backward pass"] = max(0.0, transfers[hidden].seconds - in_backbone * 2 / 3)
    fetch = _fetch(setting, machine, min(W, ranks_a_node))
    if fetch is not None:
        transfers["rows in and out"] = fetch
        seconds["rows in and out beyond the backbone"] = max(0.0, fetch.seconds - in_backbone)
    return Speed(seconds, transfers if W > 1 or fetch else {}, trace.step_flop * setting.batch, head_flop, G)


def peer_speed_of(setting: Setting, trace: BackboneTrace, machine: Machine, head: DenseHead, *, link: str) -> Speed:
    """Estimate for a head that materialises its logits, in float32, behind an NCHW backbone."""
    D, W, S, K = setting.embedding_size, setting.ranks, head.active(setting), head.classes(setting)
    images = head.images(setting)
    backbone = _backbone_seconds(setting, trace, machine, NCHW_EFFICIENCY if machine.is_gpu else CPU_EFFICIENCY)
    head_flop = 6 * images * S * D
    traffic = DENSE_LOGIT_TRAFFIC * images * S + DENSE_CLASS_TRAFFIC * D * (K if head.dense_optimizer else S)
    network = _Network(machine, link, W)
    share = (W - 1) / W
    gradients = trace.gradients_bytes + (0 if head.sharded else K * D * 4)
    transfers = {"all-reduce of gradients (DDP)": network.transfer(2 * share * gradients)}
    collectives = 0.0
    if head.sharded:
        transfers["gather embeddings, reduce gradients"] = network.transfer(2 * share * images * D * 4, count=5 + W)
        collectives = transfers["gather embeddings, reduce gradients"].seconds
    seconds = backbone | {
        "products of the head": head_flop / (machine.flops("fp32") * PRODUCT_EFFICIENCY),
        "memory traffic of the head": traffic / (machine.bandwidth * SUSTAINED_BANDWIDTH * PASS_EFFICIENCY),
        "collectives of the head": collectives,
        "DDP beyond the backward pass": max(
            0.0, transfers["all-reduce of gradients (DDP)"].seconds - sum(backbone.values()) * 2 / 3
        ),
    }
    return Speed(seconds, transfers if W > 1 else {}, trace.step_flop * setting.batch, head_flop, setting.global_batch)


class _Network(NamedTuple):
    machine: Machine
    link: str
    ranks: int

    def transfer(self, num_bytes: float, *, count: int = 1) -> Transfer:
        if self.ranks == 1:
            return Transfer(0, 0.0)
        return Transfer(num_bytes, num_bytes / link_bandwidth(self.machine, self.link) + count * LATENCY[self.link])


def _backbone_seconds(setting: Setting, trace: BackboneTrace, machine: Machine, efficiency: float) -> dict[str, float]:
    passes = trace.step_flop / trace.forward_flop / 3
    element = BYTES_A_LEAF_ELEMENT * (2 if setting.precision == "fp32" else 1)
    traffic = setting.batch * trace.leaf_elements * element * passes
    return {
        "products of the backbone": setting.batch * trace.step_flop / (machine.flops(setting.precision) * efficiency),
        "memory traffic of the backbone": traffic / (machine.bandwidth * SUSTAINED_BANDWIDTH * efficiency),
    }


def _fetch(setting: Setting, machine: Machine, ranks_a_node: int) -> Transfer | None:
    """Rows of far centres, in and out again."""
    moved = 2 * rows_bytes(setting)
    if setting.centers == "memory" or (setting.centers == "host" and not machine.is_gpu):
        return None
    bandwidth = HOST_BYTES_S if setting.centers == "host" else DISK_BYTES_S / ranks_a_node
    return Transfer(moved, moved / bandwidth)
