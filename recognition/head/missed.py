"""Products of the 2 x 2 maps of the steps that a row has missed, for any row, at a cost that does not follow the run.

Steps are cut into chunks of L. A table holds, for every step a, the product of the maps after a up to the end of its
chunk; a second one, for every chunk, the product of all maps after it. A step multiplies the rows of its own chunk and
one entry per finished chunk; a look-up is one product of the two. All in float64: 32 bytes a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

CHUNK_STEPS = 512


class MissedSteps:
    """The maps of all steps so far; `count` of them."""

    def __init__(self, device: torch.device) -> None:
        self.count = 0
        identity = torch.eye(2, dtype=torch.float64, device=device)
        self._within = identity.expand(1, CHUNK_STEPS, 2, 2).clone()
        self._after = identity[None].clone()

    def append(self, transition: Sequence[Sequence[float]], skip: torch.Tensor | None = None) -> None:
        """One more step, whose map is (w, m) <- transition (w, m), or nothing where `skip` is not 0."""
        chunk, place = divmod(self.count, CHUNK_STEPS)
        map_22 = torch.tensor(transition, dtype=torch.float64).to(self._after.device, non_blocking=True)
        if skip is not None:
            identity_22 = torch.eye(2, dtype=torch.float64, device=map_22.device)
            map_22 = torch.where(skip.to(map_22.device, non_blocking=True) != 0, identity_22, map_22)
        self._within[chunk, : place + 1] = map_22 @ self._within[chunk, : place + 1]
        self._after[:chunk] = map_22 @ self._after[:chunk]
        self.count += 1
        if self.count % CHUNK_STEPS == 0:
            identity = torch.eye(2, dtype=torch.float64, device=self._after.device)
            self._within = torch.cat([self._within, identity.expand(1, CHUNK_STEPS, 2, 2)])
            self._after = torch.cat([self._after, identity[None]])

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs, on the device; 32 bytes a step."""
        return {"within": self._within, "after": self._after}

    def restore(self, count: int, tensors: Mapping[str, torch.Tensor] | None) -> None:
        """Take up where `tensors` were taken after `count` steps; None: no row owes anything for these."""
        self.count = count
        if tensors is None:
            chunks = count // CHUNK_STEPS + 1
            identity = torch.eye(2, dtype=torch.float64, device=self._after.device)
            tensors = {"within": identity.repeat(chunks, CHUNK_STEPS, 1, 1), "after": identity.repeat(chunks, 1, 1)}
        self._within, self._after = (tensors[name].to(self._after) for name in ("within", "after"))

    def products(self, last_R: torch.Tensor) -> torch.Tensor:
        """Maps float64 (R, 2, 2) from the state after `last_R` steps to now; the identity for `count`."""
        last_R = last_R.long()
        chunk_R = last_R // CHUNK_STEPS
        return self._after[chunk_R] @ self._within[chunk_R, last_R % CHUNK_STEPS]
