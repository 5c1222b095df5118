"""launch/edits.py: the judge learns, edits are judged by it, the report has what was found, one's own pictures."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from generation.demo.demonstrations import EDITING
from generation.demo.summary import number_at
from generation.pictures import batch_of
from generation.stargan.attribute_judge import AttributeJudge, train_judge
from generation.stargan.attributes import edits_of
from generation.stargan.evaluation import Edited, edit_rows, edits_by, epoch_rows, markdown
from generation.stargan.measures import Measure, Shown, identity_measures, missing_lines, picture_measures
from generation.stargan.pictures import TEST, open_pictures
from launch import edits as command
from recognition.errors import InputError
from recognition.heads import NAMES as CLASSES
from tests.commands import run as run_command
from tests.generation.stargan.small_gan import NAMES, labels, pixels, run, write_celeba

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def judge(data, tmp_path_factory):
    """Of the set's two attributes, which anybody can see."""
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    train_judge(open_pictures(data, None, None, 16), steps=120, seed=1, say=lambda _: None).save(path)
    return path


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("trained"))


def run_edits(monkeypatch, *words):
    return run_command(command, *words, monkeypatch=monkeypatch)


class Painter(torch.nn.Module):
    """An editor that does exactly what is asked for: red on the left, blue on the right, and nothing else."""

    def __init__(self, works=(True, True)):
        super().__init__()
        self.works = works
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, img11_BCHW, labels_BA):
        made = img11_BCHW.clone()
        for place, channel, side in ((0, 0, slice(0, 8)), (1, 2, slice(8, 16))):
            if not self.works[place]:
                continue
            wanted = labels_BA[:, place]
            is_on = made[:, channel, :, side].mean((1, 2)) > -0.2
            move = (wanted - is_on.float()) * (150 / 127.5)
            made[:, channel, :, side] += move[:, None, None]
        return made.clamp(-1, 1)


def test_the_judge_learns_and_says_how_well(judge):
    opened = AttributeJudge.open(judge)
    assert opened.names == NAMES
    shown = batch_of([pixels(values, 500 + i) for i, values in enumerate(labels(20))])
    assert (opened.labels(shown) == labels(20)).all()
    assert (opened.labels(shown, ["Young"]) == labels(20)[:, 1:]).all()
    assert opened.facts["accuracy"]["Male"] == {"accuracy": 1.0, "balanced": 1.0}
    assert opened.facts["judged on"] == 4
    with pytest.raises(InputError, match="does not know Smiling; it knows Male, Young"):
        opened.labels(shown, ["Smiling"])


def test_its_accuracy_is_that_on_pictures_kept_apart(tmp_path):
    """Labels of those kept apart are turned round: it must be wrong on all of them, and says so."""
    folder = write_celeba(tmp_path)
    pictures = open_pictures(folder, None, None, 16)
    turned = pictures.labels_NA.copy()
    turned[pictures.is_test_N] = ~turned[pictures.is_test_N]
    found = train_judge(dataclasses.replace(pictures, labels_NA=turned), steps=120, seed=1, say=lambda _: None)
    assert found.facts["accuracy"]["Male"]["accuracy"] == 0
    assert not found.training


def test_an_attribute_that_all_have_cannot_be_learned(tmp_path):
    folder = write_celeba(tmp_path)
    table = folder / "list_attr_celeba.txt"
    table.write_text(re.sub(r" -1", " 1", table.read_text()))
    with pytest.raises(InputError, match="agree on Male: nobody can learn it"):
        train_judge(open_pictures(folder, None, None, 16), steps=1, seed=0)


def judged(data, judge, generator):
    pictures = open_pictures(data, None, NAMES, 16, test_size=20)
    edits = edits_by(generator, pictures.split(TEST), pictures, most=50)
    return {row["edit"]: row for row in edit_rows(edits, picture_measures(), AttributeJudge.open(judge))}


def test_who_does_what_is_asked_is_seen_to(data, judge):
    rows = judged(data, judge, Painter())
    assert set(rows) == {edit.name for edit in edits_of(NAMES)} | {"mean"}
    for name, row in rows.items():
        if name != "mean":
            assert row["target_before"] == 0
            assert row["target_after"] == 1
            assert row["gain"]["mean"] == 1
            assert row["others_kept"] == 1
            assert row["values"]["back_psnr_db"] > 20
    assert sum(row["pictures"] for name, row in rows.items() if name != "mean") == 40
    assert rows["mean"]["gain"]["mean"] == 1
    assert rows["mean"]["pictures"] is None


def test_who_does_half_of_it_is_seen_to(data, judge):
    rows = judged(data, judge, Painter(works=(True, False)))
    assert rows["Male: no to yes"]["target_after"] == rows["Male: yes to no"]["target_after"] == 1
    assert rows["Young: no to yes"]["target_after"] == rows["Young: yes to no"]["target_after"] == 0
    assert rows["Young: no to yes"]["values"]["change_l1"] == 0
    assert rows["mean"]["target_after"] == 0.5


def test_without_a_judge_or_a_recogniser_nothing_is_made_up(data):
    pictures = open_pictures(data, None, NAMES, 16)
    measures = [*picture_measures(), *identity_measures(None, None)]
    rows = edit_rows(edits_by(Painter(), pictures.split(TEST), pictures, most=5), measures, None)
    assert all(row["target_after"] is None and row["values"]["face_fid"] is None for row in rows)
    assert "n/a" in markdown(rows, [], measures)
    assert [line.split(":")[0] for line in missing_lines(measures)] == ["face-FID, identity kept, cosine"]


def test_identity_and_face_fid_are_those_of_the_embeddings(data):
    pictures = open_pictures(data, None, NAMES, 16, test_size=20)
    edits = edits_by(Painter(), pictures.split(TEST), pictures, most=5)

    def embed(img01_BCHW):
        return img01_BCHW.flatten(1)[:, ::50]

    (row, *_) = edit_rows(edits, identity_measures(embed, "pixels"), None)
    before, after = (getattr(edits[0].shown, part).flatten(1)[:, ::50] for part in ("before", "after"))
    wanted = torch.nn.functional.cosine_similarity(before, after).mean().item()
    assert row["values"]["identity_cos"] == pytest.approx(wanted, rel=1e-5)
    assert row["values"]["face_fid"] > 0


def test_the_report(data, judge, trained, tmp_path, monkeypatch, capfd):
    code = run_edits(monkeypatch, "report", trained, "--data", data, "--judge", judge, "--out", tmp_path / "out")
    said = capfd.readouterr().out
    assert code == 0
    assert "A network trained apart sees the target in" in said
    assert "face-FID, identity kept, cosine: n/a, needs a recogniser" in said
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["schema"] == "arcscale.stargan.report.1"
    assert [row["epoch"] for row in found["epochs"]] == [1, 2]
    for figure in EDITING.figures:
        if figure.file == "report/report.json":  # what make demo-all looks for is where it looks
            assert number_at(tmp_path / "out" / "report.json", figure.where) is not None
    assert found["epochs"][1]["d_loss"] == found["history"][1]["d_loss"]
    rest = {row["edit"] for row in found["edits"]} - {"mean"}
    assert rest | set(found["facts"]["edits_that_no_picture_allows"] or ()) == {edit.name for edit in edits_of(NAMES)}
    assert len(rest) == 3
    assert found["are_unseen"]
    page = (tmp_path / "out" / "index.html").read_text()
    text = (tmp_path / "out" / "report.md").read_text()
    for name in rest:
        assert name in page
        assert f"| {name} |" in text
    widths = {len(line.split(" | ")) for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) == 2  # two tables, each of rows of one length
    assert np.asarray(Image.open(tmp_path / "out" / "edits.png")).std() > 5


def test_who_was_trained_on_what_is_judged_is_told(data, judge, trained, tmp_path, monkeypatch, capfd):
    words = ("report", trained, "--data", data, "--judge", judge, "--test_size", 12, "--out", tmp_path)
    assert run_edits(monkeypatch, *words) == 0
    said = capfd.readouterr().out
    assert "Note: the generator was trained on some of these pictures" in said
    assert "Note: the judge of attributes kept other pictures apart" in said
    assert "was not trained on" not in (tmp_path / "index.html").read_text()


def test_ones_own_pictures(data, judge, trained, tmp_path, monkeypatch, capfd):
    own = tmp_path / "own"
    own.mkdir()
    for index, values in enumerate(labels(4)):
        Image.fromarray(pixels(values, 700 + index)).save(own / f"{index}.png")
    (own / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert run_edits(monkeypatch, "edit", trained, own, "--set", "Male=1", "--judge", judge, "--out", out) == 0
    said = capfd.readouterr()
    assert "edited: 4 of 5 pictures, Male=1" in said.out
    assert "left out: " in said.err
    assert "broken.jpg" in said.err
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png", "3.png", "sheet.png"]
    assert Image.open(out / "0.png").size == (16, 16)


def test_ones_own_pictures_get_the_labels_that_they_should(trained, tmp_path, monkeypatch):
    asked = []

    def edited(generator, img01_BCHW, targets_BA):
        asked.append(targets_BA.copy())
        return img01_BCHW

    monkeypatch.setattr("generation.stargan.commands.edit.edited", edited)
    folder = write_celeba(tmp_path / "celeba", 4)
    files = sorted((folder / "img_align_celeba").iterdir())
    table = folder / "list_attr_celeba.txt"
    words = ("edit", trained, *files, "--set", "Male=1", "--attr_path", table, "--out", tmp_path / "out")
    assert run_edits(monkeypatch, *words) == 0
    assert asked[0].astype(int).tolist() == [[1, 0], [1, 0], [1, 1], [1, 1]]
    words = ("edit", trained, *files, "--set", "Male=1", "--have", "Young=1", "--out", tmp_path / "out2")
    assert run_edits(monkeypatch, *words) == 0
    assert asked[1].astype(int).tolist() == [[1, 1]] * 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "Male=1"], "nobody says whether the pictures have Young"),
        (["--set", "Smile=1"], "the generator knows Male, Young"),
        (["--set", "Male=1", "--have", "Young=1", "--attr_path", "none.txt"], "none.txt cannot be read"),
        (["--set", "Male=1", "--judge", "none.safetensors"], "none.safetensors does not exist; launch/edits.py judge"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, said, data, trained, tmp_path, monkeypatch, capfd):
    pictures = data / "img_align_celeba"
    assert run_edits(monkeypatch, "edit", trained, pictures, *words, "--out", tmp_path / "out") == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_nothing_that_can_be_read(trained, tmp_path, monkeypatch, capfd):
    (tmp_path / "a.png").write_bytes(b"-")
    words = ("edit", trained, tmp_path / "a.png", "--set", "Male=1", "Young=0", "--out", tmp_path / "out")
    assert run_edits(monkeypatch, *words) == 2
    assert "none of the 1 pictures could be read" in capfd.readouterr().err


def test_an_edit_is_laid_back_where_the_parser_sees_a_region(trained, tmp_path, monkeypatch):
    """A wide photo, of which the generator sees the middle square: hair is its left half."""
    monkeypatch.setattr("generation.stargan.commands.edit.edited", lambda _, before, __: (before + 0.2).clamp(0, 1))
    mask = np.zeros((16, 16), np.uint8)
    mask[:, :8] = CLASSES.index("hair")
    monkeypatch.setattr("generation.stargan.commands.edit.open_parser", lambda path: lambda pixels: mask)
    photo = np.random.default_rng(0).integers(0, 150, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    words = ("edit", trained, tmp_path / "photo.png", "--set", "Male=1", "Young=0", "--parser", "p.pth")
    assert run_edits(monkeypatch, *words, "--regions", "hair", "--out", tmp_path / "out") == 0
    changed = (np.asarray(Image.open(tmp_path / "out" / "photo.png")).astype(int) - photo).mean(2)
    assert changed.shape == (64, 128)
    assert (changed[:, :32] == 0).all()  # beside the square
    assert (changed[:, 64:] == 0).all()  # the square's right half, and beyond it
    # Hair of 8 pixels, faded out over 4 from either side: three quarters of 0.2 of 255 in its middle.
    assert changed[28:36, 47:49].mean() == pytest.approx(0.75 * 51, abs=1)


class Adder(torch.nn.Module):
    """Makes every picture a little brighter, whatever it is asked for."""

    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, img11_BCHW, labels_BA):
        return img11_BCHW + self.step


def test_back_is_made_of_the_edit(data):
    pictures = open_pictures(data, None, NAMES, 16)
    for each in edits_by(Adder(), pictures.split(TEST), pictures, most=5):
        for found, steps in ((each.shown.after, 1), (each.shown.back, 2)):
            clear = each.shown.before < 0.8  # below where a picture ends
            moved = (found - each.shown.before)[clear]
            assert moved.numpy() == pytest.approx(np.full(len(moved), steps * 0.05), abs=2 / 255)


class Bright:
    """A judge that calls bright pictures male, and nobody young."""

    def labels(self, img01_NCHW, names):
        is_bright_N = img01_NCHW.mean((1, 2, 3)).numpy() > 0.5
        return np.stack([is_bright_N, np.zeros(len(is_bright_N), bool)], 1)


def test_what_looked_like_the_target_before_counts_on_both_sides():
    """Of four pictures one is bright before the edit, and three after it: a gain of one half."""
    edit = next(edit for edit in edits_of(NAMES) if edit.name == "Male: no to yes")
    before, after = (
        torch.tensor(levels)[:, None, None, None].expand(-1, 3, 4, 4)
        for levels in ([0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9, 0.1])
    )
    labels_NA = np.zeros((4, 2), bool)
    edited = Edited(edit, Shown(before, after, before, before), labels_NA, edit.target(labels_NA))
    (row,) = edit_rows([edited], [], Bright())
    assert (row["target_before"], row["target_after"]) == (0.25, 0.75)
    assert row["gain"]["mean"] == 0.5
    half = 3.182446 * np.std([0, 1, 1, 0], ddof=1) / 2  # Student's t at 97.5 % of 3 degrees of freedom
    assert (row["gain"]["low"], row["gain"]["high"]) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-5)
    assert row["others_kept"] == 1


def test_nothing_is_written_over(trained, tmp_path, monkeypatch, capfd):
    """Least of all the picture itself."""
    Image.fromarray(pixels(labels(1)[0], 1, 40)).save(tmp_path / "me.png")
    before = (tmp_path / "me.png").read_bytes()
    words = ("edit", trained, tmp_path / "me.png", "--set", "Male=1", "Young=0")
    assert run_edits(monkeypatch, *words, "--out", tmp_path) == 2
    assert "me.png is there already; choose another --out" in capfd.readouterr().err
    assert (tmp_path / "me.png").read_bytes() == before
    assert run_edits(monkeypatch, *words, "--regions", "hair", "--out", tmp_path / "out") == 2
    assert "which --parser does: give both" in capfd.readouterr().err


def test_who_changes_nothing_is_not_praised_by_distance(data, judge):
    """By epoch as by edit: real pictures are never those that were edited."""
    pictures = open_pictures(data, None, NAMES, 16, test_size=20)
    seen = []

    def of(shown):
        seen.append(shown)
        return 0.0

    measure = Measure("m", "m", of=of)
    checkpoint = type("C", (), {"epoch": 1, "history": [], "generator": lambda self: Painter()})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generation.stargan.evaluation.read_checkpoint", lambda path: checkpoint)
        test, train = pictures.split(TEST), pictures.split("train")
        (row,) = epoch_rows([None], test, train, [measure], None, most=6)
    assert (row["pictures"], row["real"]) == (24, 6)
    edit_rows(edits_by(Painter(), test, pictures, most=50), [measure], None)
    for shown in seen:
        assert not any((real == before).all() for real in shown.real for before in shown.before)


def test_the_surest_of_two_colours_of_hair():
    judge = AttributeJudge(16, ("Black_Hair", "Male", "Blond_Hair"))
    judge.numbers = lambda pictures: torch.tensor([[2.0, 1.0, 3.0], [2.0, -1.0, -3.0], [-1.0, 1.0, -2.0]])
    found = judge.likeliest(torch.zeros(3, 3, 16, 16), ("Blond_Hair", "Black_Hair", "Male"))
    assert found.astype(int).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
