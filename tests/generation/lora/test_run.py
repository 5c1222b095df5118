"""Whole runs: what they leave, and that an interrupted one, or one on more ranks, ends as if nothing had been."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from generation.lora import loop
from generation.lora.assembly import Assembled
from generation.lora.step import LoraStep
from recognition.checkpoint.layout import REPLICATED, find_checkpoint
from recognition.errors import InputError, Stopped
from tests.generation.lora.small_lora import adapter, rows_of, run, small
from tests.ranks import run_ranks


def stored(run_dir):
    """All tensors of the newest checkpoint."""
    file = find_checkpoint(run_dir).tensor_file(REPLICATED)
    return {name: file.get(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def whole(home):
    """A run of four steps with the face loss, which nothing interrupted."""
    options = ("max_steps=4", "schedule=cosine", "using_tensorboard=True", "sample_every=2")
    return run(home / "whole", *options, faces=True)


def test_it_leaves_all_that_was_promised(whole):
    names = {path.name for path in whole.iterdir()}
    promised = {"config.json", "status.json", "metrics.jsonl", "tensorboard", "checkpoints", "adapter", "samples"}
    assert promised | {"report", "training.log", "provenance.json"} <= names
    assert json.loads((whole / "status.json").read_text())["state"] == "finished"
    assert json.loads((whole / "config.json").read_text())["face_loss_weight"] == 0.5
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    rows = rows_of(whole, "train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["lr"] == 0.01 > rows[1]["lr"] > rows[3]["lr"] > 0
    assert all(row["loss"] == pytest.approx(row["flow_loss"] + 0.5 * row.get("face_loss", 0)) for row in rows)
    assert sum(row.get("faces_found", 0) for row in rows) > 0


def test_the_grid_shows_reference_picture_and_what_was_made(whole):
    with Image.open(whole / "samples" / "step-00000004.png") as opened:
        grid = torch.from_numpy(np.array(opened.convert("RGB")))
    assert grid.shape == (2 * 36 - 4, 3 * 36 - 4, 3)
    assert torch.equal(grid[:32, :32], grid[:32, 36:68])  # here the reference is the picture
    assert not torch.equal(grid[:32, 36:68], grid[:32, 72:])


def test_tensorboard_has_the_numbers_and_the_pictures(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("train/flow_loss")
    assert [event.step for event in scalars] == [1, 2, 3, 4]
    rows = rows_of(whole, "train")
    assert [event.value for event in scalars] == pytest.approx([row["flow_loss"] for row in rows])
    assert [event.step for event in events.Images("samples")] == [2, 4]


def test_the_report_has_the_figures_and_is_one_file(whole):
    facts = json.loads((whole / "report" / "report.json").read_text())
    assert facts["train"]["flow_loss"] == [row["flow_loss"] for row in rows_of(whole, "train")]
    page = (whole / "report" / "index.html").read_text()
    assert page.count("data:image/svg+xml") == 3  # flow loss, face loss, cosine
    assert page.count("data:image/jpeg") == 1
    flow_loss = facts["train"]["flow_loss"]
    assert f'<td>{flow_loss[0]:.3f}</td><td class="figure">{flow_loss[-1]:.3f}</td>' in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    card = (whole / "adapter" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert 'from_pretrained("FOLDER OF THE PIPELINE")' in card  # tiny-flux is none


class Interrupted(LoraStep):
    """Asks its own process to stop in its second step."""

    taken = 0

    def __call__(self, *args, **options):
        Interrupted.taken += 1
        if Interrupted.taken == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__call__(*args, **options)


def test_an_interrupted_run_goes_on_bit_for_bit(home, whole, monkeypatch):
    options = ("max_steps=4", "schedule=cosine", "sample_every=2")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LoraStep", Interrupted)
        with pytest.raises(Stopped, match="SIGTERM at step"):
            run(home / "parts", *options, faces=True)
    status = json.loads((home / "parts" / "status.json").read_text())
    assert status["state"] == "stopped"
    assert 0 < status["step"] < 4
    parts = run(home / "parts", *options, faces=True)
    assert equal(stored(parts), stored(whole))
    assert equal(adapter(parts), adapter(whole))
    assert rows_of(parts, "train") == rows_of(whole, "train")
    grids = [folder / "samples" / "step-00000004.png" for folder in (parts, whole)]
    assert grids[0].read_bytes() == grids[1].read_bytes()


def trained_by(runtime, folder, *options):
    return adapter(run(folder, *options, faces=True, runtime=runtime))


def test_two_ranks_end_where_one_with_the_doubled_batch_does(home):
    # SGD, whose step is as its gradient: AdamW's first is of one size, whatever the rounding of a gradient of nearly 0.
    options = ("max_steps=2", "optimizer=sgd", "lr=0.5", "max_grad_norm=0")
    one = adapter(run(home / "one", *options, "batch_size=4", faces=True))
    first, second = run_ranks(trained_by, 2, home / "two", *options)
    start = adapter(run(home / "start", *options, "lr=1e-12", "batch_size=4", faces=True))
    assert equal(first, second)
    for name, value in one.items():
        moved = (value - start[name]).norm()
        assert (first[name] - value).norm() <= 1e-3 * moved
    assert any((one[name] - start[name]).norm() > 1e-3 for name in one)


def test_a_finished_run_is_left_as_it_is(home, whole, monkeypatch):
    options = ("max_steps=4", "schedule=cosine", "using_tensorboard=True", "sample_every=2")
    before = stored(whole)
    monkeypatch.setattr(Assembled, "batches", None)  # nothing is read
    assert run(whole, *options, faces=True) == whole
    assert equal(stored(whole), before)


def test_a_resume_with_other_settings_is_refused_and_with_other_shares_goes_on(home, monkeypatch):
    class Stops(LoraStep):
        def __call__(self, *args, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().__call__(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "LoraStep", Stops)
        with pytest.raises(Stopped):
            run(home / "other", "max_steps=3")
    with pytest.raises(InputError, match=r"another config: rank=2 \(the checkpoint has 4\)"):
        run(home / "other", "max_steps=3", "rank=2")
    assert run(home / "other", "max_steps=3", "batch_size=1", "gradient_acc=2")


def test_the_config_that_a_run_stores_is_the_one_it_used(home, whole):
    stored_config = json.loads((whole / "config.json").read_text())
    cfg = small(whole, "max_steps=4", "schedule=cosine", "using_tensorboard=True", "sample_every=2", faces=True)
    assert stored_config["arcface_weights"] == cfg.arcface_weights
    assert find_checkpoint(whole).document("state.json")["config"] == stored_config
