"""The command line: every flag of the first version with its type and default, and words that say what is wrong."""

import pytest
import torch

from generation.posecontrol.arguments import config_of
from generation.posecontrol.config import PoseControlConfig

# name, type, default, as the first version had them
FLAGS = [
    ("image_dir", str, None),
    ("batch_size", int, 16),
    ("num_workers", int, 4),
    ("image_size", int, 112),
    ("feature_dim", int, 512),
    ("pose_dim", int, 3),
    ("num_control_layers", int, 3),
    ("freeze_generator", bool, False),
    ("epochs", int, 100),
    ("lr", float, 1e-4),
    ("weight_decay", float, 1e-5),
    ("pose_loss_weight", float, 0.1),
    ("loss_type", str, "mse"),
    ("use_amp", bool, False),
    ("gradient_accumulation_steps", int, 1),
    ("resume", str, None),
    ("save_dir", str, "checkpoints_image"),
    ("log_dir", str, "logs_image"),
    ("save_interval", int, 10),
]


def parsed(*words):
    return config_of(words, description="")


@pytest.mark.parametrize(("name", "kind", "default"), FLAGS)
def test_flags_of_the_first_version(name, kind, default):
    value = getattr(parsed("--data_dir", "d"), name)
    assert (None if value is None else kind(value)) == default
    if kind is bool:
        assert getattr(parsed("--data_dir", "d", f"--{name}"), name) is True
        return
    word = {int: "48", float: "0.25", str: "l1" if name == "loss_type" else "else"}[kind]
    assert kind(getattr(parsed("--data_dir", "d", f"--{name}", word), name)) == kind(word)


def test_every_setting_has_a_flag():
    import dataclasses

    from generation.posecontrol.arguments import GROUPS

    flags = [name for group in GROUPS.values() for name in group]
    assert sorted(flags) == sorted(field.name for field in dataclasses.fields(PoseControlConfig))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--data_dir is required"),
        (("data_dir", "d", "epochs", "100"), "flags begin with two dashes: --data_dir"),
        (("--data_dir", "d", "--loss_type", "huber"), "'mse', 'l1', 'combined'"),
        (("--data_dir", "d", "--batch_size", "0"), "--batch_size 0: must be at least 1"),
        (("--data_dir", "d", "--lr", "nan"), "--lr nan"),
        (("--data_dir", "d", "--pose_loss_weight", "-1"), "at least 0"),
        (("--data_dir", "d", "--min_angle_diff", "95"), "smaller"),
        (("--data_dir", "d", "--reconstruct", "--freeze_generator"), "leave one out"),
        (("--data_dir", "d", "--batch-size", "3"), "unrecognized arguments: --batch-size"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "device", "has_bf16", "precision"),
    [
        ({}, "cuda", True, "fp32"),
        ({"use_amp": True}, "cuda", True, "bf16"),
        ({"use_amp": True}, "cuda", False, "fp16"),
        ({"use_amp": True}, "cpu", False, "bf16"),
        ({"use_amp": True, "amp_dtype": "fp16"}, "cuda", True, "fp16"),
    ],
)
def test_precision(given, device, has_bf16, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert PoseControlConfig("d", **given).precision(torch.device(device)) == precision
