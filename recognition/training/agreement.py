"""Are the replicas still the same bits on every rank? Checked now and then: silent corruption is found, not averaged.

A rank digests its tensors where they lie, at about two readings of their memory, and one all-gather compares digests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch

from recognition.collectives import all_gather
from recognition.errors import ReplicasDiffer
from recognition.runtime import Runtime
from recognition.splitmix import mix_

# Signed numbers of the same size as an element, to see its bits; sums of them wrap round and so lose nothing.
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_KEY = 0x0A9EE
_NAMED = 3


def require_agreement(tensors: Mapping[str, torch.Tensor], runtime: Runtime, *, step: int) -> None:
    """Compare `tensors` (equal names, shapes and types on all ranks) bit by bit; ReplicasDiffer on every rank if not.

    A collective: all ranks call it at the same step. It waits for the device once.
    """
    if runtime.world == 1 or not tensors:
        return
    digests_WTQ = all_gather(digests(list(tensors.values()), runtime.device)[None], runtime)
    found = differences(list(tensors), digests_WTQ.tolist())
    if found is not None:
        raise ReplicasDiffer(
            f"step {step}: {found}. Memory or a GPU computed wrongly, or code depends on the rank; resume from the "
            f"checkpoint before this step, and replace the machine of the odd rank if it happens there again"
        )


@torch.no_grad()
def digests(tensors: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Two 64-bit numbers for each tensor, int64 (T, 2) on `device`, that depend on its elements' bits and places.

    One digests the sums of bit patterns over each index of the first dimension, the other those over each index of all
    the other dimensions: a change of one element always alters one sum of either. Equal for any strides. Not noticed:
    changes that keep all of these sums, such as +d, -d, -d, +d at the corners of a rectangle.
    """
    sums = [part.to(device, torch.int64) for tensor in tensors for part in _sums(tensor)]
    words = torch.cat(sums)
    # Each sum is hashed together with its place before they are added: nothing linear is left that could cancel.
    words = mix_(words.add_(mix_(torch.arange(len(words), device=device), _KEY)), _KEY).cumsum(0)
    ends = torch.tensor([0, *(len(part) for part in sums)]).cumsum(0).to(device)
    return torch.cat([words.new_zeros(1), words])[ends].diff().view(len(tensors), 2)


def differences(names: list[str], digests_WTQ: list[list[list[int]]]) -> str | None:
    """Which tensors differ, and which ranks from the majority, in words; None when all ranks agree."""
    different, odd, has_majority = [], set(), True
    for name, digests_WQ in zip(names, zip(*digests_WTQ)):
        values = [tuple(digest) for digest in digests_WQ]
        (most, votes), *others = Counter(values).most_common()
        if others:
            different.append(name)
            has_majority &= 2 * votes > len(values)
            odd |= {rank for rank, value in enumerate(values) if value != most}
    if not different:
        return None
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    what = f"{len(different)} of {len(names)} replicated tensors differ ({', '.join(different[:_NAMED])}{more})"
    if has_majority:
        return f"{what}: {_ranks(odd)} not as the majority of {len(digests_WTQ)} ranks"
    groups: dict[tuple, list[int]] = {}
    for rank, digests_TQ in enumerate(digests_WTQ):
        groups.setdefault(tuple(map(tuple, digests_TQ)), []).append(rank)
    return f"{what}: {' against '.join(map(_ranks, groups.values()))}, and no majority says which is right"


def _sums(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Wrapping sums of bit patterns per index of the first dimension, and per index of all others, in logical order."""
    tensor = tensor.detach()
    bits = tensor.view(_BITS[tensor.element_size()])
    bits = bits.reshape(-1) if bits.dim() < 2 else bits
    others = tuple(range(1, bits.dim()))
    rows = bits.sum(others, dtype=bits.dtype) if others else bits
    # In the order of memory: a sum over channels_last tensors in any other takes 30 times as long.
    in_memory = sorted(others, key=bits.stride, reverse=True)
    columns = bits.permute(0, *in_memory).sum(0, dtype=bits.dtype)
    back = [in_memory.index(dim) for dim in others]
    return rows, columns.permute(back).reshape(-1)


def _ranks(ranks: set[int] | list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, sorted(ranks)))}"
