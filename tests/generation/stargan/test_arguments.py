"""The command line and the file of settings: the seed's names and values, and what is said of wrong ones."""

import dataclasses
import shlex

import pytest
import yaml

from generation.stargan.arguments import GROUPS, config_of
from generation.stargan.config import StarGANConfig, read_settings
from recognition.errors import InputError
from tests.conftest import ROOT

SETTINGS = ROOT / "configs" / "stargan_celeba.yaml"
# As the first version of the system had them.
WANTED = {
    "model": {"image_size": 256, "g_conv_dim": 64, "d_conv_dim": 64, "g_repeat_num": 6, "d_repeat_num": 6},
    "training": {"batch_size": 16, "num_epochs": 200, "g_lr": 1e-4, "d_lr": 1e-4, "beta1": 0.5, "beta2": 0.999},
    "loss": {"lambda_cls": 1.0, "lambda_rec": 10.0, "lambda_gp": 10.0},
    "selected_attrs": ["Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"],
}
COMMAND = (
    "--dataset CelebA --image_size 256 --batch_size 16 --num_epochs 200 "
    "--selected_attrs Black_Hair Blond_Hair Male Young"
)


def parsed(*words):
    return config_of([str(word) for word in words], description="-")


def written(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_the_file_is_the_seeds_and_says_what_the_defaults_are():
    assert yaml.safe_load(SETTINGS.read_text()) == WANTED
    assert StarGANConfig(**read_settings(SETTINGS)) == StarGANConfig()


def test_the_seeds_command():
    cfg = parsed(*shlex.split(COMMAND))
    assert cfg.selected_attrs == ("Black_Hair", "Blond_Hair", "Male", "Young")
    assert cfg.c_dim == 4
    assert (cfg.dataset, cfg.image_size, cfg.batch_size, cfg.num_epochs) == ("CelebA", 256, 16, 200)
    assert cfg == StarGANConfig(dataset="CelebA", selected_attrs=cfg.selected_attrs)


def test_every_setting_has_a_flag_and_a_line_of_help(capsys):
    named = [name for group in GROUPS.values() for name in group]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(StarGANConfig))
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in named)


def test_flags_count_more_than_the_file(tmp_path):
    path = written(tmp_path, "training:\n  batch_size: 8\n  use_amp: true\n  g_lr: 1e-5\nselected_attrs: [Male]\n")
    cfg = parsed("--config", path, "--batch_size", 2)
    assert (cfg.batch_size, cfg.use_amp, cfg.g_lr, cfg.selected_attrs) == (2, True, 1e-5, ("Male",))
    assert not parsed("--config", path, "--no-use_amp").use_amp


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training:\n  batchsize: 4\n", "batchsize is no setting; did you mean batch_size?"),
        ("training:\n  batch_size: four\n", "batch_size: 'four' is not what it takes (int)"),
        ("training:\n  batch_size: 4.5\n", "batch_size: 4.5 is not what it takes (int)"),
        ("training:\n  num_epochs: .inf\n", "num_epochs: inf is not what it takes (int)"),
        ("training:\n  batch_size: true\n", "batch_size: True is not what it takes"),
        ("selected_attrs: Male\n", "selected_attrs: 'Male' is not what it takes"),
        ("a:\n  g_lr: 1\nb:\n  g_lr: 2\n", "g_lr is there twice"),
        ("- 1\n", "expected sections"),
        ("a: [1\n", "is no YAML"),
        ("!!python/object/apply:os.getcwd []\n", "is no YAML"),
    ],
)
def test_a_wrong_file(text, said, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"--config {path}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["batch_size", "4"], "flags begin with two dashes: --batch_size"),
        (["--num_epochs", "0"], "--num_epochs 0: must be at least 1"),
        (["--g_lr", "0"], "--g_lr 0.0: must be above 0"),
        (["--beta1", "1"], "--beta1 1.0: must be from 0 to below 1"),
        (["--lambda_gp", "nan"], "--lambda_gp nan: must be at least 0"),
        (["--lambda_id", "1"], "--lambda_id needs a recogniser"),
        (["--selected_attrs", "Male", "Male"], "name each attribute once"),
        (["--num_epochs", "5", "--lr_decay_epochs", "6"], "--lr_decay_epochs 6: must be from 0 to --num_epochs"),
        (["--image_size", "30", "--d_repeat_num", "1"], "--image_size 30: must be a multiple of 4, from 8 on"),
        (["--crop_size", "0"], "--crop_size 0: must be at least 1"),
        (["--lambda_rec", "inf"], "--lambda_rec inf: must be at least 0"),
        (["--dataset", "FFHQ"], "invalid choice: 'FFHQ'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_learning_rates_fall_in_the_second_half_unless_told():
    assert StarGANConfig(num_epochs=200).decay_epochs == 100
    assert StarGANConfig(num_epochs=200, lr_decay_epochs=0).decay_epochs == 0
