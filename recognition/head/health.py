"""What went wrong in the head, noted on the device and read when it suits: nothing waits for a check of every batch."""

from __future__ import annotations

import torch

from recognition.errors import InputError

_BLOCK_CLASSES = 1 << 14
_LABEL = 1


class Health:
    """The first bad batch of the latest run of bad steps: a label out of range, an embedding or a loss not finite.

    A good step forgets the bad ones before it, except for a label out of range: that is an error of the data. All
    ranks note the same, because they look at the gathered batch.
    """

    def __init__(self, num_classes: int, world: int, device: torch.device) -> None:
        self.num_classes, self.world = num_classes, world
        self._first = torch.zeros(5, dtype=torch.int64, device=device)
        self.is_bad = torch.zeros((), dtype=torch.bool, device=device)

    def begin(self) -> None:
        """A new step: `is_bad` is about its batches from here on."""
        self._first = torch.where(self.is_bad | (self._first[0] == _LABEL), self._first, 0)
        self.is_bad = torch.zeros_like(self.is_bad)

    def note(self, labels_G: torch.Tensor, is_finite_G: torch.Tensor, loss_G: torch.Tensor) -> torch.Tensor:
        """Which samples are good, bool (G,); keeps what the message needs, if one is not and none before it was."""
        is_label_bad_G = (labels_G < 0) | (labels_G >= self.num_classes)
        is_sample_bad_G = is_label_bad_G | ~is_finite_G
        is_bad_G = is_sample_bad_G | ~torch.isfinite(loss_G)
        # The cause before its effects: a bad sample has no loss, a bad centre takes the loss of all.
        row = torch.where(is_sample_bad_G.any(), is_sample_bad_G, is_bad_G).to(torch.uint8).argmax()
        count = torch.where(is_sample_bad_G.any(), is_sample_bad_G, is_bad_G).sum()
        # Not [row]: to index by a tensor of one number, torch reads the number.
        kind = torch.where(is_label_bad_G, _LABEL, torch.where(is_finite_G, 3, 2)).gather(0, row[None])[0]
        label = labels_G.gather(0, row[None])[0]
        found = torch.stack([kind, row, label, count, labels_G.new_full((), len(labels_G))])
        is_bad = is_bad_G.any()
        self._first = torch.where((self._first[0] == 0) & is_bad, found, self._first)
        self.is_bad = self.is_bad | is_bad
        return ~is_bad_G

    def check_labels(self) -> None:
        """InputError for a label out of range; waits for the device."""
        if self._first[0].item() == _LABEL:
            raise InputError(self.complaint())

    def check(self, centers_KCD: torch.Tensor, first_class: int) -> None:
        """InputError that names rank, sample and label, or the centre, of the first bad batch; waits for the device."""
        if (complaint := self.complaint(centers_KCD, first_class)) is not None:
            raise InputError(complaint)

    def complaint(self, centers_KCD: torch.Tensor | None = None, first_class: int = 0) -> str | None:
        """What is wrong with the first bad batch, in one line; waits for the device."""
        kind, row, label, count, rows = self._first.tolist()
        if kind == 0:
            return None
        rank, sample = divmod(row, rows // self.world)
        where = f"rank {rank}, sample {sample} of its batch, label {label}"
        more = f" ({count} bad samples in this batch)"
        if kind == _LABEL:
            return f"{where}: labels must lie in [0, {self.num_classes}); correct num_classes or the data{more}"
        if kind == 2:
            return (
                f"{where}: the embedding is not finite; the backbone has diverged: lower lr, lengthen warmup_epoch, "
                f"or use precision=bf16{more}"
            )
        for start in range(0, 0 if centers_KCD is None else len(centers_KCD), _BLOCK_CLASSES):
            is_finite_N = torch.isfinite(centers_KCD[start : start + _BLOCK_CLASSES]).flatten(1).all(1)
            if not is_finite_N.all():
                bad = first_class + start + int((~is_finite_N).nonzero()[0])
                return f"the centre of class {bad} is not finite: lower lr, or start from an earlier checkpoint"
        return (
            f"{where}: the loss is not finite, though the embeddings are, and so are the class centres of this rank; "
            f"see the message of the rank whose centre is not"
        )
