"""How a command ends: one line to the user, the traceback in the log, an exit code that tells the truth."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

from recognition.environment import launched, launcher_pid
from recognition.errors import GivingUp, InputError, PeerEnded, PeerLost, ReplicasDiffer, Stopped
from recognition.log import LOG
from recognition.whereabouts import PEER_GONE


def run_command(main: Callable[[], None]) -> None:
    """Run `main` and exit: 0 when it returns, 2 for the user's mistakes, 75 for a run that stopped when it was asked to
    and can be resumed, 130 and 143 for Ctrl-C and SIGTERM, else 1.
    """
    code = 0
    faulthandler.enable()  # a mapped file that is cut short while it is read ends the process without an exception
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _terminated)
    try:
        main()
    except (InputError, OSError) as error:
        code = 2
        _explain(_one_line(error))
        if isinstance(error, GivingUp):
            _end_launcher()
    except Stopped as stop:
        code = os.EX_TEMPFAIL
        _explain(_one_line(stop), label="stopped")
    except (PeerLost, ReplicasDiffer) as error:
        code = 1
        _explain(_one_line(error))
    except PeerEnded as error:
        code = 1
        _explain(f"{_one_line(error)}; its own message says why", label="stopped")
    except KeyboardInterrupt:
        code = 130
        _explain("interrupted; files that were complete stay as they are", label="stopped")
    except SystemExit:
        raise
    except BaseException as error:
        code = 1
        if any(text in str(error) for text in PEER_GONE):
            _explain("another rank ended first; its own message says why", label="stopped")
        else:
            _explain(f"{type(error).__name__}: {_one_line(error)}", unexpected=True)
    _end(code)


def _terminated(number: int, frame: object) -> None:
    _explain(f"{signal.Signals(number).name}: the job was ended, or another rank failed", label="stopped")
    _end(128 + number)


def _end_launcher() -> None:
    """Have torchrun end the job instead of starting it once more; one rank of each machine asks for it."""
    pid = launcher_pid() if launched().local_rank == 0 else None
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)


def _explain(line: str, *, label: str = "error", unexpected: bool = False) -> None:
    rank = launched().label
    # One that is closed has no stream any more: the error must be told all the same.
    files = [each for each in LOG.handlers if isinstance(each, logging.FileHandler) and each.stream is not None]
    if unexpected and files:
        line += f" (traceback in {files[0].baseFilename})"
    elif unexpected:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # the console may be a file on a full disk
        print(f"{rank}{label}: {line}", file=sys.stderr)
    trace = traceback.format_exc() if sys.exc_info()[0] else ""
    for handler in files:
        # The error to explain may be that the disk of this very log is full.
        with contextlib.suppress(OSError, ValueError):
            handler.stream.write(f"{rank}{label}: {line}\n{trace}")
            handler.flush()


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


def _end(code: int) -> None:
    for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
        with contextlib.suppress(OSError, ValueError):
            flush()
    if launched().world > 1:
        # Interpreter teardown with gloo threads alive aborts now and then: a finished run would count as failed.
        os._exit(code)
    sys.exit(code)
