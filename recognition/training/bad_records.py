"""What becomes of records that cannot be read: counted over all ranks, told and listed; too many end the run."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from decimal import Decimal
from pathlib import Path

from recognition.atomic import write_text
from recognition.collectives import gather_text
from recognition.config import TrainConfig
from recognition.data.loader import Batch
from recognition.data.substitutes import BadRecord
from recognition.errors import InputError
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.metrics import MetricsWriter

FILE = "bad_records.csv"
_NAMED = 5


def tolerated_records(cfg: TrainConfig) -> int:
    """How many bad records of the set a run goes on without; 0 unless they are skipped."""
    # Decimal, for 0.07 of 100 is 7 and not a little more.
    return math.ceil(Decimal(str(cfg.bad_record_share)) * cfg.num_image) if cfg.on_bad_record == "skip" else 0


class BadRecords:
    """The records that this run could not read, each once, the same on all ranks after each meeting.

    `known` is all the state; a run that goes on begins with what its checkpoint knew.
    """

    def __init__(
        self,
        run_dir: Path,
        cfg: TrainConfig,
        runtime: Runtime,
        metrics: MetricsWriter,
        *,
        known: Iterable[BadRecord] = (),
    ) -> None:
        self.path, self.cfg, self.runtime, self.metrics = run_dir / FILE, cfg, runtime, metrics
        self.known = {record.index: record for record in known}
        self.untold: dict[int, BadRecord] = {}
        # What was listed after the checkpoint will be met, and listed, again.
        if runtime.is_main and (self.known or self.path.exists()):
            self._write_list()

    @property
    def listed(self) -> tuple[BadRecord, ...]:
        """All that are known, by index."""
        return tuple(self.known[index] for index in sorted(self.known))

    def after_step(self, done: int, batches: Sequence[Batch], *, meet: bool) -> None:
        """Note what the batches of a step lacked; where ranks `meet`, equal on all, they tell each other: a collective.

        InputError on all ranks when there are more than `bad_record_share` allows.
        """
        if self.cfg.on_bad_record != "skip":
            return
        for record in (record for batch in batches for record in batch.bad):
            if record.index not in self.known:
                self.untold[record.index] = record
        if meet:
            self._meet(done)

    def _meet(self, done: int) -> None:
        mine = json.dumps([astuple(record) for record in self.untold.values()])
        texts = gather_text(mine, self.runtime, what="records that cannot be read")
        # By index: a rank that has two is as good as two ranks with one each.
        rows = sorted({tuple(row) for text in texts for row in json.loads(text)})
        new = {record.index: record for record in (BadRecord(*row) for row in rows)}
        self.untold = {}
        self.known |= new
        if new and self.runtime.is_main:
            self._tell(done, list(new.values()))
        if len(self.known) > (limit := tolerated_records(self.cfg)):
            first = "; ".join(f"{record.place}: {record.reason}" for record in self.listed[:_NAMED])
            raise InputError(
                f"{self.cfg.rec}: {len(self.known)} of {self.cfg.num_image} records cannot be read, more than the "
                f"{limit} that bad_record_share={self.cfg.bad_record_share:g} allows; restore the set, or raise "
                f"bad_record_share; {self.path} lists them: {first}" + ("; ..." if len(self.known) > _NAMED else "")
            )

    def _tell(self, done: int, new: list[BadRecord]) -> None:
        for record in new[:_NAMED]:
            LOG.warning("bad record, another is shown in its place: %s: %s", record.place, record.reason)
        if len(new) > _NAMED:
            LOG.warning("... and %d more bad records since they were last counted: see %s", len(new) - _NAMED, FILE)
        records = [{"index": record.index, "place": record.place, "reason": record.reason} for record in new]
        self.metrics.write("bad_record", done, count=len(self.known), records=records)
        self._write_list()

    def _write_list(self) -> None:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("index", "place", "reason"))
        rows.writerows(astuple(record) for record in self.listed)
        try:
            write_text(self.path, text.getvalue())
        except OSError as error:
            # The same is in metrics.jsonl and in the checkpoints.
            LOG.warning("%s cannot be written (%s); the run goes on", self.path, error.strerror)
