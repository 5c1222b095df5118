"""How a command ends: one line to the user, the traceback in the log, an exit code that tells the truth."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

from recognition.environment import launched
from recognition.errors import InputError
from recognition.log import LOG

PEER_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")


def run_command(main: Callable[[], None]) -> None:
    """Run `main` and exit: 0 when it returns, 2 for the user's mistakes, 130 after Ctrl-C, 1 for anything else."""
    code = 0
    # torchrun ends the other ranks with SIGTERM when one fails; without this they would die with a half-drawn screen.
    if launched().world > 1:
        signal.signal(signal.SIGTERM, lambda *_: _end(143))
    try:
        main()
    except (InputError, OSError) as error:
        code = 2
        _explain(_one_line(error))
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


def _explain(line: str, *, label: str = "error", unexpected: bool = False) -> None:
    rank = launched().label
    files = [handler for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]
    for handler in files:
        handler.stream.write(f"{rank}{label}: {line}\n{traceback.format_exc()}")
        handler.flush()
    if unexpected and files:
        line += f" (traceback in {files[0].baseFilename})"
    elif unexpected:
        traceback.print_exc()
    print(f"{rank}{label}: {line}", file=sys.stderr)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


def _end(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    if launched().world > 1:
        # Interpreter teardown with gloo threads alive aborts now and then: a finished run would count as failed.
        os._exit(code)
    sys.exit(code)
