"""One vote of all ranks a step: whether it counts, and what any of them wants at its end."""

from __future__ import annotations

from typing import NamedTuple

import torch

from recognition.collectives import all_reduce_max
from recognition.runtime import Runtime


class Agreed(NamedTuple):
    """What all ranks found out together: the step changed nothing; somebody wants to stop; a checkpoint is due.

    `is_bad`: it changed nothing for a loss or gradient that is not finite, and not in fp16's search for its scale.
    """

    is_skipped: bool
    stop: bool
    save: bool
    is_bad: bool = False


NOTHING = Agreed(is_skipped=False, stop=False, save=False)


class Ballot(NamedTuple):
    """The votes of a step on the device, each the maximum over the ranks: 1 where any rank says so."""

    is_bad: torch.Tensor
    overflow: torch.Tensor
    stop: torch.Tensor
    save: torch.Tensor

    @property
    def skip(self) -> torch.Tensor:
        """1 where the step must change nothing, float32."""
        return torch.maximum(self.is_bad, self.overflow)

    def read(self) -> Agreed:
        """The votes as Python has them; waits for the device."""
        is_bad, overflow, stop, save = torch.stack(self).tolist()
        return Agreed(bool(is_bad or overflow), bool(stop), bool(save), bool(is_bad))


class Vote:
    """Holds the vote, and counts bad steps one after another; the only place where ranks could come to differ."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=runtime.device)
        # The longest row since it was last asked for: where nothing waits for the device, a row may have ended by then.
        self.longest = torch.zeros_like(self.in_a_row)

    def cast(self, *, is_bad: torch.Tensor, overflow: torch.Tensor, stop: bool = False, save: bool = False) -> Ballot:
        """One collective. `is_bad`: loss or gradient not finite; `overflow`: fp16's scale was too large, no more."""
        device = self.runtime.device
        wishes = torch.tensor([stop, save], dtype=torch.float32).to(device, non_blocking=True)
        mine = torch.cat([torch.stack([is_bad, overflow]).float(), wishes])
        ballot = Ballot(*all_reduce_max(mine, self.runtime, what="the vote on the step").unbind())
        # An overflow is no bad step, and no good one either.
        kept = torch.where(ballot.overflow != 0, self.in_a_row, 0)
        self.in_a_row = torch.where(ballot.is_bad != 0, self.in_a_row + 1, kept)
        self.longest = torch.maximum(self.longest, self.in_a_row)
        return ballot

    def longest_row(self) -> int:
        """The longest row of bad steps since the last call; waits for the device."""
        longest, self.longest = self.longest, self.in_a_row.clone()
        return int(longest.item())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The live tensors: what a resume needs, and writes to."""
        return {"in_a_row": self.in_a_row, "longest": self.longest}
