"""Looks at generated pictures: the same at every look, judged by two recognisers, an alarm when they part."""

import json
import logging
import shutil

import pytest
import torch

from generation.alignment import box_matrices, crop, square_boxes
from generation.backbone import FrozenBackbone
from generation.lora.assembly import assemble
from generation.lora.pictures import read_picture
from generation.lora.watch import Look, Watch, gap_growth
from generation.pictures import img01_of
from recognition.errors import InputError
from recognition.log import LOG
from recognition.runtime import Runtime
from tests.generation.identity.drawn_faces import weights_file
from tests.generation.lora.small_lora import rows_of, run, small
from tests.ranks import run_ranks


@pytest.mark.parametrize(
    ("first", "look", "growth"),
    [
        (None, Look(1, 0.5, 0.4), None),
        ({"train_cos": 0.2, "held_out_cos": 0.1}, Look(1, 0.9, 0.3), 0.5),
        ({"train_cos": 0.2, "held_out_cos": 0.3}, Look(1, 0.6, 0.7), 0.0),
        ({"train_cos": 0.2, "held_out_cos": 0.1}, Look(0, None, None), None),
        ({"train_cos": 0.2, "held_out_cos": 0.1}, Look(1, 0.5, None), None),
    ],
)
def test_the_gap_grows_where_the_first_gains_alone(first, look, growth):
    assert gap_growth(first, look) == (None if growth is None else pytest.approx(growth))


@pytest.fixture(scope="module")
def watched(home):
    held_out = weights_file(home / "people", seed=1)
    options = ("max_steps=2", "monitor_every=1", "monitor_samples=3", f"held_out_recogniser={held_out}")
    # Ten times what is used in earnest, and any gap an alarm: two steps must show something.
    return run(home / "watched", *options, "lr=0.1", "monitor_gap=1e-9", faces=True), held_out


def cosines(weights, ref, made):
    """Of the crops round the known box, by torch alone."""
    backbone = FrozenBackbone.open(weights, "r_tiny")
    boxes = json.loads((ref.parent / "boxes.json").read_text())
    matrix = box_matrices(square_boxes(torch.tensor([boxes[ref.name]["box"]]), 1.2), 112)
    crops = [crop(img[None], matrix, 112) for img in (read_picture(ref, 32, fills=False), made)]
    return torch.cosine_similarity(*(backbone(each) for each in crops))[0].item()


def test_both_recognisers_are_asked_about_the_pictures_that_are_shown(watched, home):
    run_dir, held_out = watched
    rows = rows_of(run_dir, "monitor")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert [row["faces"] for row in rows] == [3, 3, 3]
    last = rows[-1]
    assert last["gap"] == pytest.approx(last["train_cos"] - last["held_out_cos"])
    assert last["gap_growth"] == pytest.approx(last["gap"] - rows[0]["gap"])
    # The last pictures once more, from the adapter that was stored.
    cfg = small(home / "again", f"init={run_dir / 'adapter'}", faces=True)
    pixels = watch_of(cfg, Runtime()).generate([0, 1, 3])
    people = home / "people"
    for key, weights in (("train_cos", weights_file(people)), ("held_out_cos", held_out)):
        by_hand = [cosines(weights, people / f"p{index}.png", img01_of(pixels[index])) for index in (0, 1, 3)]
        assert last[key] == pytest.approx(sum(by_hand) / 3, abs=1e-5)


def test_a_gap_that_grows_is_an_alarm_in_log_metrics_and_report(watched):
    run_dir, _ = watched
    rows = rows_of(run_dir, "monitor")
    alarms = [row["step"] for row in rows if row.get("alarm")]
    assert alarms == [row["step"] for row in rows if row["gap_growth"] > 1e-9]
    assert alarms
    log = (run_dir / "training.log").read_text()
    assert log.count("ALARM step") == len(alarms)
    assert json.loads((run_dir / "report" / "report.json").read_text())["alarms"] == alarms
    page = (run_dir / "report" / "index.html").read_text()
    assert page.count("It is being fooled") == len(alarms)


def test_a_second_recogniser_that_is_the_first_is_refused(home, tmp_path):
    copy = shutil.copy(weights_file(home / "people"), tmp_path / "another.safetensors")
    with pytest.raises(InputError, match=r"another\.safetensors has the weights of arcface_weights: no gap"):
        run(home / "same", "monitor_every=1", f"held_out_recogniser={copy}", faces=True)
    assert not (home / "same").exists()


class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Written:
    """Stands for the file of metrics."""

    def __init__(self):
        self.rows = []

    def write(self, kind, step, **values):
        self.rows.append(values)


def test_the_alarm_is_raised_beyond_the_limit_and_not_before(home, monkeypatch):
    made = watch_of(small(home / "alarm", "monitor_gap=0.1", faces=True), Runtime())
    told, written = Told(), Written()
    monkeypatch.setattr(LOG, "handlers", [told])
    for step, (train_cos, held_out_cos) in enumerate([(0.2, 0.1), (0.5, 0.35), (0.6, 0.35), (0.7, 0.7)]):
        made._note(Look(3, train_cos, held_out_cos), step, written)
    assert [row.get("alarm", 0) for row in written.rows] == [0, 0, 1, 0]
    assert [line for line in told.lines if line.startswith("ALARM step 2: ") and "0.150" in line]


def watch_of(cfg, runtime):
    from generation.lora.loop import plan_steps
    from generation.lora.step import LoraStep
    from recognition.training.plan import Progressed

    parts = assemble(cfg, runtime)
    batches = parts.batches(plan_steps(cfg, runtime.world, Progressed()))
    comparison = parts.face_loss.face_loss.comparison
    take_step = LoraStep(parts.models, cfg, runtime, face_loss=parts.face_loss)
    return Watch(take_step, batches, cfg, runtime, trained_by=comparison, held_out=None)


def generated(runtime, cfg):
    return watch_of(cfg, runtime).generate([0, 1, 4])


def test_pictures_are_the_same_whoever_makes_them(home):
    cfg = small(home / "ranks", faces=True)
    alone = generated(Runtime(), cfg)
    for of_rank in run_ranks(generated, 2, cfg):
        assert of_rank.keys() == alone.keys()
        assert all((pixels == alone[index]).all() for index, pixels in of_rank.items())
    assert (alone[0] != alone[1]).any()


def test_latents_that_the_cache_has_lost_are_named(home, tmp_path):
    watch = watch_of(small(home / "lost", f"cache={tmp_path / 'cache'}", faces=True), Runtime())
    shutil.rmtree(tmp_path / "cache" / "latents")
    with pytest.raises(InputError, match=r"cache has lost the latents of .*faces\.jsonl:1; start the run again"):
        watch.generate([0])


def test_it_looks_when_it_was_asked_to(home):
    made = watch_of(small(home / "due", "monitor_every=3", "sample_every=4", faces=True), Runtime())
    due = [made.is_due(done, 10) for done in range(11)]
    assert [done for done, (judges, _) in enumerate(due) if judges] == [0, 3, 6, 9, 10]
    assert [done for done, (_, shows) in enumerate(due) if shows] == [4, 8, 10]
