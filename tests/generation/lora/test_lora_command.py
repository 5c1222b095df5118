"""launch/lora.py as a user meets it: exit codes, and one line for each mistake."""

import pytest

from launch import lora
from tests.commands import run
from tests.conftest import CONFIGS
from tests.generation.lora.small_lora import FACES, adapter, small


def arguments(cfg, *overrides):
    """The command line that asks for a run of `small`."""
    keys = "transformer vae image_size rank batch_size max_steps device threads data output using_tensorboard"
    more = "sample_steps monitor_every"
    return [CONFIGS / "lora_base.py", *(f"{key}={getattr(cfg, key)}" for key in f"{keys} {more}".split()), *overrides]


def test_it_trains_and_exits_with_0(home, monkeypatch, capfd):
    cfg = small(home / "command")
    assert run(lora, *arguments(cfg), monkeypatch=monkeypatch) == 0
    assert len(adapter(cfg.output_dir)) == 14


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rnak=3"], ["command line", "'rank'", "configs/lora_base.py"]),
        (["transformer=/no/such/folder"], ["transformer=/no/such/folder", "nothing is downloaded"]),
        (["target_modules=to_z"], ["target_modules", "'to_z'"]),
        (["data=/no/such/list.jsonl"], ["/no/such/list.jsonl"]),
        ([*FACES, "arcface_weights=/no/such.pth", "detector={boxes}"], ["/no/such.pth", "does not exist"]),
        ([*FACES, "arcface_weights=x", "root=/no/packs"], ["det_10g.onnx", "/no/packs"]),
        (["init=/no/adapter"], ["/no/adapter", "holds no adapter"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(home, monkeypatch, capfd, overrides, words):
    given = [override.format(boxes=home / "people" / "boxes.json") for override in overrides]
    assert run(lora, *arguments(small(home / "mistaken"), *given), monkeypatch=monkeypatch) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert [word for word in words if word not in lines[0]] == []
    assert not (home / "mistaken").exists()
