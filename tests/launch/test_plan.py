"""launch/plan.py as a user meets it; in this process, but for one command from end to end and one mistake."""

import json
import sys

import pytest

from launch import plan
from recognition.errors import InputError
from tests.commands import launch
from tests.conftest import CONFIGS

TINY = ["--network", "r_tiny", "--image-size", 32]


@pytest.fixture
def planned(monkeypatch, capsys):
    """Runs the command with these arguments; its output."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["plan.py", *map(str, arguments)])
        plan.main()
        return capsys.readouterr().out

    return run


def test_a_config_on_eight_gpus():
    config = CONFIGS / "glint360k_r50.py"
    result = launch("plan.py", config, "network=r_tiny", "batch_size=64", "--gpus", 8, "--gpu", "h200")
    assert result.returncode == 0, result.stderr
    words = ["360,232 identities", "r_tiny", "64 images a rank (512 a step)", "stimates", "DDP buckets", "nvlink"]
    words += ["centres and their optimizer state", "all-reduce of the backbone", "images/s, bound by", "recommended:"]
    assert [word for word in words if word not in result.stdout] == []


def test_a_mistake_is_one_line():
    result = launch("plan.py", "--identities", 1000, "--network", "r5O")
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "did you mean 'r50'" in lines[0]


def test_flags_and_json(planned):
    flags = ["--identities", 8_000_000, "--gpus", 2, "--gpu", "rtx4090", "--sample-rate", 0.1]
    report = json.loads(planned(*flags, *TINY, "--json"))
    assert report["setting"]["identities"] == 8_000_000
    assert report["link"] == "pcie"
    assert "stimates" in report["label"]
    assert report["fits"] is True
    parts = report["memory"]["parts_bytes"]
    assert parts["centres and their optimizer state"] == 4_000_001 * 4096
    assert sum(parts.values()) == report["memory"]["total_bytes"]
    assert sum(report["speed"]["seconds"].values()) == pytest.approx(report["speed"]["step_s"])
    assert report["recommended"]["setting"]["sample_rate"] == 0.1
    assert report["recommended"]["speed"]["images_per_s"] > 0


def test_flags_win_over_the_config(planned):
    config = CONFIGS / "glint360k_r50.py"
    flags = ["--batch", 16, "--identities", 5000, "--gpus", 16]
    setting = json.loads(planned(config, "batch_size=64", "sample_rate=0.5", *flags, *TINY, "--json"))["setting"]
    assert (setting["batch"], setting["identities"], setting["sample_rate"]) == (16, 5000, 0.5)
    assert (setting["ranks"], setting["network"], setting["image_size"]) == (16, "r_tiny", 32)


def test_more_gpus_than_a_node_has_talk_over_infiniband(planned):
    assert json.loads(planned("--identities", 5000, "--gpus", 16, *TINY, "--json"))["link"] == "infiniband"


def test_what_does_not_fit_says_by_how_much_and_what_to_do(planned):
    text = planned("--identities", 20_000_000, "--gpu", "l4", "--sample-rate", 0.02, *TINY)
    assert "does not fit: short by" in text
    assert "  - centers=host" in text
    assert "recommended:" in text


def test_another_system(planned):
    text = planned("--identities", 1_000_000, "--system", "arcface_torch", "--gpu", "h200", *TINY)
    assert "arcface_torch on 1 x h200" in text
    assert "logits" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--identities", 1000, "--gpu", "h20"], "h20.*h200.*a100-80"),
        (["--identities", 4, "--gpus", 8], "ranks=8.*identities=4"),
        (["--identities", 1000, "--sample-rate", 0], r"sample_rate=0.*\(0, 1\]"),
        (["--identities", 1000, "--gpu", "l4", "--link", "nvlink"], "no NVLink"),
        ([CONFIGS / "base.py", "rec=/data/faces"], "--identities"),
        ([], "--identities"),
    ],
)
def test_mistakes(planned, arguments, words):
    with pytest.raises(InputError, match=words):
        planned(*arguments)
