"""What commands say of the sets and folders that they wrote."""

from __future__ import annotations

from recognition.records.failures import HTML, counts_of
from recognition.records.layout import Written


def print_outcome(did: str, written: Written, *, what: str = "images") -> None:
    """A line on what a command `did`, and a note on each thing that the user should know."""
    print(f"{did} {written.num_images} {what} of {written.num_classes} identities into {written.path}")
    if written.failures:
        why = f"{counts_of(written.failures)}; {written.folder / HTML} shows them"
        print(f"note: {len(written.failures)} pictures were left out: {why}")
    for remark in written.remarks:
        print(f"note: {remark}")
