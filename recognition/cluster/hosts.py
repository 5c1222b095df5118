"""SLURM's short forms, written out: lists of hosts such as `n[01-03,7],m1` and counts such as `8(x2),4`. All pure."""

from __future__ import annotations

import re

from recognition.errors import InputError


def parse_hosts(text: str) -> list[str]:
    """Hosts of a list as `SLURM_JOB_NODELIST` has it, in its order; InputError when it cannot be read."""
    entries = re.findall(r"(?:[^,\[\]\s]|\[[\d,-]+\])+", text)
    if not entries or ",".join(entries) != text.strip():
        raise InputError(f"host list {text!r} cannot be read; SLURM writes one as n[01-03,7],m1")
    return [host for entry in entries for host in _expand(entry, text)]


def parse_task_counts(text: str) -> list[int]:
    """Tasks on each node of a list as `SLURM_TASKS_PER_NODE` has it; InputError when it cannot be read."""
    counts: list[int] = []
    for entry in text.strip().split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", entry)
        if not match:
            raise InputError(f"task counts {text!r} cannot be read; SLURM writes them as 8(x2),4")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _expand(entry: str, text: str) -> list[str]:
    before, bracket, rest = entry.partition("[")
    if not bracket:
        return [entry]
    inside, _, after = rest.partition("]")
    hosts = []
    for part in inside.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"host list {text!r} cannot be read: [{inside}] holds no range such as 01-03")
        first, last = match[1], match[2] or match[1]
        # A range is as wide as its first number is written: 09-10 keeps the zero, 9-10 has none.
        numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        hosts += [before + number + tail for number in numbers for tail in _expand(after, text)]
    return hosts
