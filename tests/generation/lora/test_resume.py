"""Runs that were interrupted, in each mode in which a step is put together: they end as if nothing had been."""

import json
import os
import shutil
import signal

import pytest

from generation.lora import loop
from generation.lora.step import LoraStep
from recognition.errors import InputError, Stopped
from tests.generation.identity.drawn_faces import weights_file
from tests.generation.lora.small_lora import adapter, rows_of, run
from tests.generation.lora.test_run import equal, stored
from tests.ranks import run_ranks

STEPS = 4
SAVING = ("gradient_checkpointing=True", "vae_checkpointing=True", "face_window=True", "unrolled_steps=2")
MODES = {
    "accumulated": ("precision=bf16", "batch_size=1", "gradient_acc=2", *SAVING),
    "scaled": ("precision=fp16", "transformer=tiny-sd3", "optimizer=sgd", "schedule=polynomial", "warmup_steps=2"),
}


class Stops(LoraStep):
    """Asks all ranks to stop in step `at`."""

    at = 2

    def __call__(self, *args, step, **options):
        if step == self.at - 1 and self.runtime.is_main:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__call__(*args, step=step, **options)


def interrupted(runtime, folder, *options):
    """The folder of a run that was stopped after three of its steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LoraStep", Stops)
        with pytest.raises(Stopped):
            run(folder, *options, faces=True, runtime=runtime)
    return json.loads((folder / "status.json").read_text())["step"]


def finished(runtime, folder, *options):
    run(folder, *options, faces=True, runtime=runtime)


@pytest.mark.parametrize("mode", MODES)
def test_it_goes_on_bit_for_bit(home, mode):
    options = (*MODES[mode], f"max_steps={STEPS}", "frequent=2")
    whole, parts = home / f"{mode}-whole", home / f"{mode}-parts"
    run(whole, *options, faces=True)
    assert 0 < interrupted(None, parts, *options) < STEPS
    run(parts, *options, faces=True)
    assert equal(stored(parts), stored(whole))
    assert equal(adapter(parts), adapter(whole))
    assert rows_of(parts, "train") == rows_of(whole, "train")


def test_another_second_recogniser_has_a_first_look_of_its_own(home):
    options = ("monitor_every=1", "monitor_samples=3", "monitor_gap=1e-9", "lr=0.1")
    for steps, seed in ((1, 1), (3, 2)):
        held_out = weights_file(home / "people", seed=seed)
        run(home / "judges", f"max_steps={steps}", *options, f"held_out_recogniser={held_out}", faces=True)
    rows = rows_of(home / "judges", "monitor")
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row["gap_growth"] == 0 for row in rows] == [True, False, True, False]
    assert rows[3]["gap_growth"] == pytest.approx(rows[3]["gap"] - rows[2]["gap"])


def test_a_recogniser_that_was_replaced_is_noticed(home, tmp_path):
    recogniser = tmp_path / "recogniser.safetensors"
    shutil.copy(weights_file(home / "people"), recogniser)
    options = (f"arcface_weights={recogniser}",)
    run(home / "replaced", "max_steps=1", *options, faces=True)
    shutil.copy(weights_file(home / "people", seed=1), recogniser)
    with pytest.raises(InputError, match=r"arcface_weights=.*safetensors holds something else now") as error:
        run(home / "replaced", "max_steps=2", *options, faces=True)
    assert "\n" not in str(error.value)


def test_boxes_that_were_replaced_are_noticed_where_they_are_looked_at(home, tmp_path):
    boxes = json.loads((home / "people" / "boxes.json").read_text())
    path, options = tmp_path / "boxes.json", (f"detector={tmp_path / 'boxes.json'}",)
    path.write_text(json.dumps(boxes))
    run(home / "boxes", "max_steps=1", *options, faces=True)
    path.write_text(json.dumps(boxes | {"another.png": None}))
    run(home / "boxes", "max_steps=2", *options, faces=True)
    path.write_text(json.dumps(boxes | {"p1.png": {"box": [1, 1, 20, 20]}}))
    with pytest.raises(InputError, match=r"detector=.*boxes\.json holds something else now"):
        run(home / "boxes", "max_steps=3", *options, faces=True)


def test_fewer_steps_than_were_taken_are_no_steps(home):
    run(home / "fewer", "max_steps=3", "checkpoint_steps=1", faces=True)
    (home / "fewer" / "status.json").unlink()  # as if it had not come to its end
    run(home / "fewer", "max_steps=2", faces=True)
    assert json.loads((home / "fewer" / "status.json").read_text())["step"] == 3
    assert "| step | 3 |" in (home / "fewer" / "adapter" / "README.md").read_text()
    assert len(rows_of(home / "fewer", "train")) == 3


class FindsNoRoom(LoraStep):
    """In its second step, the folder of adapters can no longer be written."""

    def __call__(self, *args, step, **options):
        if step == 1:
            folder = self.cfg.output_dir / "adapter"
            shutil.rmtree(folder)
            folder.write_text("")
        return super().__call__(*args, step=step, **options)


def test_no_run_is_finished_without_its_last_adapter(home, monkeypatch):
    monkeypatch.setattr(loop, "LoraStep", FindsNoRoom)
    with pytest.raises(OSError, match="adapter"):
        run(home / "no-room", "max_steps=3", "checkpoint_steps=1", faces=True)
    log = (home / "no-room" / "training.log").read_text()
    assert log.count("adapter of step 2 not written") == 1  # there it went on
    assert json.loads((home / "no-room" / "status.json").read_text())["state"] == "failed"


def test_looks_and_other_steps_may_begin_when_a_run_goes_on(home):
    held_out = weights_file(home / "people", seed=1)
    options = ("use_face_loss=False", f"held_out_recogniser={held_out}")
    run(home / "wider", "max_steps=1", *options, faces=True)
    run(home / "wider", "max_steps=2", "monitor_every=1", "batch_size=1", "gradient_acc=3", *options, faces=True)
    assert not (home / "wider.old-1").exists()
    assert [row["samples"] for row in rows_of(home / "wider", "train")] == [2, 5]
    assert [row["step"] for row in rows_of(home / "wider", "monitor")] == [2]
    assert (home / "wider" / "training.log").read_text().count("note: a step has 3 sample(s) now, and had 2") == 1


@pytest.fixture(scope="module")
def of_two(home):
    """A run of two ranks that looks at pictures, whole; one that was stopped, and its options."""
    held_out = weights_file(home / "people", seed=1)
    options = (f"max_steps={STEPS}", "monitor_every=2", "monitor_samples=3", f"held_out_recogniser={held_out}")
    # SGD, whose step is as its gradient: other ranks sum it in another order.
    options += ("optimizer=sgd", "lr=0.5", "max_grad_norm=0")
    run_ranks(finished, 2, home / "whole-2", *options)
    assert 0 < run_ranks(interrupted, 2, home / "parts-2", *options)[0] < STEPS
    return home / "whole-2", home / "parts-2", options


def test_two_ranks_that_look_at_pictures_go_on_bit_for_bit(home, of_two):
    whole, parts, options = of_two
    parts = shutil.copytree(parts, home / "on-two")
    run_ranks(finished, 2, parts, *options)
    assert equal(stored(parts), stored(whole))
    for kind in ("train", "monitor"):
        assert rows_of(parts, kind) == rows_of(whole, kind)
    assert [row["step"] for row in rows_of(whole, "monitor")] == [0, 2, 4]


def test_one_rank_goes_on_where_two_ended(home, of_two):
    whole, parts, options = of_two
    parts = shutil.copytree(parts, home / "on-one")
    half = adapter(parts)
    run(parts, *options, "batch_size=4", faces=True)
    whole, parts = adapter(whole), adapter(parts)
    for name, value in whole.items():
        assert (parts[name] - value).norm() <= 1e-3 * (value - half[name]).norm()
    assert any((value - half[name]).norm() > 1e-3 for name, value in whole.items())
