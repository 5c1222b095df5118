"""Ten minutes of random faults: python -m tests.faults.soak [--minutes 10] [--seed 0]

Two ranks by torchrun. About every twenty seconds something happens to them: kill -9 or SIGSTOP of a rank, SIGTERM or
SIGUSR1 to torchrun, a disk that somebody else fills. Whatever ends is started again with the same command. Exit code 0
when the run finishes with the bits of one that nothing happened to, and its processes did not grow in the quiet end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recognition.training.loop import train
from tests.faults.faults import fill
from tests.faults.jobs import Job, steps_logged
from tests.faults.twenty_steps import outcome
from tests.ranks import run_ranks
from tests.training.small_runs import small

RANKS, STEP_S, CHECKPOINT_STEPS = 2, 0.25, 20
DISK_BYTES = 64 << 20
FULL_S = 6.0
# Of the run's last steps, this share is left in peace, to see whether its processes grow.
QUIET = 0.3
GROWTH = 0.02
KINDS = ("kill -9", "SIGSTOP", "SIGTERM", "SIGUSR1", "full disk")


def options(steps: int) -> list[str]:
    """The run: BatchNorm, dropout, sampled classes, a moving average; an image is seen twice or so."""
    return [
        f"num_image={steps * 8}", "num_classes=50", "num_epoch=2", f"max_steps={steps}", "dropout=0.2",
        "sample_rate=0.5", "ema_decay=0.99", f"checkpoint_steps={CHECKPOINT_STEPS}", "checkpoint_keep=3",
        "collective_timeout_s=10", "verbose=100", "val_targets=['synthetic']",
    ]  # fmt: skip


def undisturbed(runtime, folder: Path, steps: int) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        train(small(folder, *options(steps)), runtime)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """`folder` on a file system of its own that fills up soon; False where this user may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


class Soak:
    """The job that runs, what has happened to it so far, and how large its processes were."""

    def __init__(self, folder: Path, steps: int, chance: random.Random, kinds: list[str]) -> None:
        self.folder, self.steps, self.chance, self.kinds = folder, steps, chance, kinds
        self.next_kinds: list[str] = []
        self.words = [*options(steps), *(f"slow:rank={rank},seconds={STEP_S},start=-1" for rank in range(RANKS))]
        self.counts: Counter[str] = Counter()
        self.starts = 0
        self.samples: dict[int, list[tuple[float, float]]] = {}

    @property
    def is_quiet(self) -> bool:
        """Whether the run is in its last steps, which are left in peace."""
        return steps_logged(self.folder / "run") >= (1 - QUIET) * self.steps

    def run(self, deadline: float) -> int:
        """Start the job again and again until it finishes; its exit code, non-zero when time is up."""
        while time.monotonic() < deadline:
            self.starts += 1
            with Job(self.folder, *self.words, ranks=RANKS, restarts=99) as job:
                if (code := self._disturb(job, deadline)) == 0:
                    return 0
                print(f"  start {self.starts} ended with {code}", flush=True)
                last_words = job.log[-2000:]
        print(last_words)
        return 1

    def _disturb(self, job: Job, deadline: float) -> int:
        next_s = time.monotonic() + self.chance.uniform(5, 15)
        seen = steps_logged(job.run_dir)
        while job.agent.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
            if self.is_quiet:
                # Not the report at the end, which opens files of its own.
                if steps_logged(job.run_dir) < self.steps - CHECKPOINT_STEPS // 2:
                    self._measure(job)
                continue
            if steps_logged(job.run_dir) == seen:
                next_s += 0.5  # it is on its way up, and has the fault still before it
                continue
            seen = steps_logged(job.run_dir)
            if time.monotonic() >= next_s and len(ranks := job.ranks()) == RANKS:
                self._strike(job, ranks)
                next_s = time.monotonic() + self.chance.uniform(8, 20)
        return job.agent.poll() if job.agent.poll() is not None else -1

    def _strike(self, job: Job, ranks: dict[int, int]) -> None:
        # Every kind comes before any comes again.
        self.next_kinds = self.next_kinds or self.chance.sample(self.kinds, len(self.kinds))
        kind, rank = self.next_kinds.pop(), self.chance.randrange(RANKS)
        self.counts[kind] += 1
        print(f"  step {steps_logged(job.run_dir)}: {kind}", flush=True)
        with contextlib.suppress(ProcessLookupError):
            if kind == "kill -9":
                os.kill(ranks[rank], signal.SIGKILL)
            elif kind == "SIGSTOP":
                os.kill(ranks[rank], signal.SIGSTOP)
            elif kind == "full disk":
                fill(self.folder)
                time.sleep(FULL_S)
                (self.folder / "filler").unlink()
            else:
                job.send(signal.Signals[kind])

    def _measure(self, job: Job) -> None:
        for pid in job.ranks().values():
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                files = len(os.listdir(f"/proc/{pid}/fd"))
                self.samples.setdefault(pid, []).append((pages * os.sysconf("SC_PAGE_SIZE"), files))

    def growth(self) -> tuple[float, float, int]:
        """Largest growth of resident bytes and of open files, from the second fifth to the last, and samples taken."""
        growths = [(0.0, 0.0)]
        for samples in self.samples.values():
            fifth = len(samples) // 5
            if fifth >= 4:
                early, late = samples[fifth : 2 * fifth], samples[-fifth:]
                means = [[sum(column) / len(part) for column in zip(*part)] for part in (early, late)]
                growths.append(tuple(after / before - 1 for before, after in zip(*means)))
        return max(g[0] for g in growths), max(g[1] for g in growths), max(map(len, self.samples.values()), default=0)


def main() -> int:
    """Run it and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="about how long (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of what happens when (default: 0)")
    given = parser.parse_args()
    # The rest of the time goes into starting again.
    steps = max(200, round(given.minutes * 60 * 0.6 / (STEP_S + 0.05)) // CHECKPOINT_STEPS * CHECKPOINT_STEPS)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        run_ranks(undisturbed, RANKS, folder / "undisturbed", steps, timeout_s=600)
        expected = outcome(folder / "undisturbed" / "run", steps)
        (disk := folder / "disk").mkdir()
        with small_disk(disk) as fills_up:
            soak = Soak(disk, steps, random.Random(given.seed), [*KINDS] if fills_up else [*KINDS[:-1]])
            code = soak.run(time.monotonic() + 3 * 60 * given.minutes)
            found = outcome(disk / "run", steps) if code == 0 else None
            log = (disk / "run" / "training.log").read_text(errors="replace")
    memory, files, count = soak.growth()
    same = found == expected
    happened = ", ".join(f"{number} {kind}" for kind, number in sorted(soak.counts.items()))
    sha256 = next(iter(expected[0].values()))[:12] if same else "differ"
    print(
        f"soak (seed {given.seed}): {steps} steps on {RANKS} ranks in {(time.monotonic() - started) / 60:.1f} minutes; "
        f"{happened}; {soak.starts} starts by hand, {log.count('going on from')} resumes, "
        f"{log.count('not written')} checkpoints that found no room; finished: {code == 0}; tensors and losses of the "
        f"undisturbed run: {same} ({sha256}); in the quiet end memory grew by {memory:.1%} and open files by "
        f"{files:.1%} ({count} samples)"
    )
    return 0 if code == 0 and same and memory < GROWTH and files < GROWTH and count >= 20 else 1


if __name__ == "__main__":
    sys.exit(main())
