"""launch/lora.py as a user meets it: exit codes, and one line for each mistake."""

import pytest

from launch import lora
from tests.commands import run
from tests.conftest import CONFIGS
from tests.generation.lora.small_lora import adapter, small


def arguments(cfg, *overrides):
    """The command line that asks for a run of `small`."""
    keys = (
        "transformer",
        "vae",
        "image_size",
        "rank",
        "batch_size",
        "max_steps",
        "device",
        "threads",
        "data",
        "output",
    )
    more = ("using_tensorboard", "sample_steps", "monitor_every")
    return [CONFIGS / "lora_base.py", *(f"{key}={getattr(cfg, key)}" for key in (*keys, *more)), *overrides]


def test_it_trains_and_exits_with_0(home, monkeypatch, capsys):
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
        (["use_face_loss=True", "arcface_weights=/no/such.pth"], ["/no/such.pth", "does not exist"]),
        (
            ["use_face_loss=True", "arcface_weights=x", "detector=buffalo_l", "root=/no/root"],
            ["det_10g.onnx", "/no/root"],
        ),
        (["text_encoders=/no/such/pipeline", "init=/no/adapter"], ["/no/adapter", "pytorch_lora_weights"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(home, monkeypatch, capsys, overrides, words):
    assert run(lora, *arguments(small(home / "mistaken"), *overrides), monkeypatch=monkeypatch) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert [word for word in words if word not in lines[0]] == []
    assert not (home / "mistaken").exists()
