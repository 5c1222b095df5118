"""Small networks that judge pictures, which no generator was trained with: what they are made of, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from generation.pictures import resized
from recognition.atomic import replacing
from recognition.errors import InputError

WIDTHS = (32, 64, 128, 128)


class Judge(nn.Module):
    """Pictures img01 (B, 3, H, W) -> numbers (B, `outputs`); `facts` say what it was trained on, and how well.

    `key` marks its files, `what` names it in messages, `made_by` is the command that makes one.
    """

    key: ClassVar[str]
    what: ClassVar[str]
    made_by: ClassVar[str]

    def __init__(self, image_size: int, outputs: int, facts: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.image_size, self.facts = image_size, facts or {}
        layers: list[nn.Module] = []
        for inputs, width in zip((3, *WIDTHS), WIDTHS):
            layers += [nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        side = -(-image_size // 2 ** len(WIDTHS))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, outputs))

    def numbers(self, img01_BCHW: Tensor) -> Tensor:
        """What the last layer gives."""
        return self.layers(resized(img01_BCHW, self.image_size) * 2 - 1)

    def save(self, path: Path) -> None:
        """Write weights and facts, whole or not at all."""
        facts = json.dumps({**self.facts, "image_size": self.image_size})
        with replacing(path) as partial:
            save_file(self.state_dict(), partial, metadata={"format": "pt", self.key: facts})

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> Judge:
        """An untrained one as a file's facts have it."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path) -> Judge:
        """From a file that `save` wrote, to use; InputError for another one."""
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {}).get(cls.key, "null"))
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; {cls.made_by} makes one") from error
        except (SafetensorError, ValueError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error})") from error
        if facts is None:
            raise InputError(f"{path} is no {cls.what}; {cls.made_by} makes one")
        try:
            judge = cls.of_facts(facts)
            judge.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: its tensors are not those that it names; make it again") from error
        return judge.eval().requires_grad_(False)
