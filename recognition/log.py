"""The log of a run: to the console without tearing a progress bar apart, and to training.log."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from tqdm import tqdm

LOG = logging.getLogger("arcscale")


class ConsoleHandler(logging.Handler):
    """Log lines that do not tear a progress bar apart; where they cannot be written, nothing but they are lost."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record above any bar that is being drawn."""
        say(self.format(record))


class LogFile(logging.FileHandler):
    """A log file whose failure is told once, not with a traceback for each line."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that the file cannot be written, the first time."""
        if not self.told:
            self.told = True
            say(f"{self.baseFilename} cannot be written (disk full?); the run goes on without it")


def say(line: str) -> None:
    """Print a line above any bar; a console that is a file on a full disk, say, does not end the run."""
    with contextlib.suppress(OSError):
        tqdm.write(line)


def start_log(run_dir: Path) -> None:
    """Send the log to the console and to training.log in the run directory (main rank only)."""
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    end_log()
    file = LogFile(run_dir / "training.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(ConsoleHandler())
    LOG.addHandler(file)


def end_log() -> None:
    """Close and forget the handlers of the run in this process, if there was one."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
