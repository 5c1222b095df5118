"""One thing that is wrong with a model, or with the way it is fed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from recognition.errors import InputError


@dataclass(frozen=True)
class Finding:
    """`name` is for programs, `sentence` says what was seen with its figures, `suggestion` what to do about it."""

    name: str
    sentence: str
    suggestion: str

    def facts(self) -> dict[str, str]:
        """As report.json has it."""
        return asdict(self)


class NoFigures(InputError):
    """What a model says of a target's pictures allows no figure at all; `finding` is why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.sentence}; {finding.suggestion}")
        self.finding = finding
