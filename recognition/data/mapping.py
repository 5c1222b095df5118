"""Files that are mapped into memory, and may be cut short by others while they are."""

from __future__ import annotations

import mmap


def cut_short(mapped: mmap.mmap) -> str | None:
    """What is wrong where the file behind a map has become shorter than the map; None where it has not.

    To be asked before each read: touching a mapped page behind the end of its file ends the process, without an
    exception.
    """
    now, then = mapped.size(), len(mapped)
    return None if now >= then else f"the file was cut from {then} to {now} bytes while it was in use"
