"""One thing that is wrong with a model, or with the way it is fed."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """`name` is for programs, `sentence` says what was seen with its figures, `suggestion` what to do about it."""

    name: str
    sentence: str
    suggestion: str

    def facts(self) -> dict[str, str]:
        """As report.json has it."""
        return asdict(self)
