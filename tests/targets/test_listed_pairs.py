"""Lists and published sets as targets: groups of their own, trees as unpacked, photos at the size of each model."""

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.embedding.files import FilePictures
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.faces.photos import Aligner
from recognition.runtime import Runtime
from recognition.targets.opening import open_target
from recognition.targets.pairs import PairsTarget
from recognition.targets.target import DEEP, Options
from recognition.verification.bootstrap import resample_pairs
from recognition.verification.pairs import Pairs, write_pairs
from tests.faces.red_faces import RedFaces, photo_of
from tests.pictures import write_people

OPTIONS = Options(replicates=0)
NAMES = ("ann", "bob", "cid")


def embed(x_BCHW):
    return torch.nn.functional.avg_pool2d(x_BCHW, 4).flatten(1) + 0.02


MODEL = Embedder(embed, None, {"file": "grid.onnx"})


def scored(text, options=OPTIONS):
    return open_target(str(text), "set", options).score(MODEL, runtime=Runtime(), batch_size=8)


@pytest.fixture
def grouped(tmp_path):
    """Twenty pairs of which those with a picture of ann first are a group of their own, their folds backwards."""
    write_people(tmp_path / "people", dict.fromkeys(NAMES, 2))
    rows = []
    for pair in range(20):
        first, other = NAMES[pair % 3], NAMES[(pair + 1) % 3]
        second = first if pair % 2 else other
        rows.append((f"{first}/0.jpg", f"{second}/1.jpg", pair % 2, 9 - pair // 2, "a" if first == "ann" else "rest"))
    return tmp_path, rows


def test_the_groups_of_a_list_follow_its_pairs_and_those_of_a_file_go_before_them(grouped):
    folder, rows = grouped
    lines = [f"{group},{second},{fold},{first},{same}" for first, second, same, fold, group in rows]
    (folder / "list.csv").write_text("group,second,fold,first,same\n" + "\n".join(lines))
    options = Options(replicates=0, images=folder / "people")
    target = open_target(str(folder / "list.csv"), "set", options)
    assert ["a" if "/ann/" in name else "rest" for name in target.names[0::2]] == target.groups_P
    assert target.names[0].endswith(rows[18][0])  # the last fold of the file is the first of the set
    facts = scored(folder / "list.csv", options).facts()
    assert [(group["group"], group["pairs"]) for group in facts["groups"]] == [("a", 7), ("rest", 13)]
    (folder / "groups.csv").write_text("group\n" + "".join(f"{'late' if k > 9 else 'early'}\n" for k in range(20)))
    target = open_target(
        str(folder / "list.csv"), "set", Options(images=folder / "people", groups=folder / "groups.csv")
    )
    assert target.groups_P == ["late"] * 10 + ["early"] * 10


@pytest.mark.parametrize(
    ("unit", "expected"),
    [(None, "people"), ("people", "people"), ("pairs", "pairs")],
    ids=["default", "people", "pairs"],
)
def test_people_are_resampled_where_a_list_names_them_unless_pairs_are_asked_for(grouped, unit, expected):
    folder, rows = grouped
    lines = [f"{a},{b},{same},{a.split('/')[0]},{b.split('/')[0]}" for a, b, same, *_ in rows]
    (folder / "list.csv").write_text("first,second,same,first_person,second_person\n" + "\n".join(lines))
    outcome = scored(folder / "list.csv", Options(replicates=40, seed=2, unit=unit, images=folder / "people"))
    facts = outcome.facts()
    assert facts["resampling"] == {"unit": expected, "replicates": 40, "seed": 2}
    people = [tuple(name.split("/")[-2] for name in outcome.names[2 * p : 2 * p + 2]) for p in range(20)]
    (drawn,) = resample_pairs(
        [outcome.result], replicates=40, seed=2, people_P2=people if expected == "people" else None
    )
    assert facts["intervals"] == {metric: drawn.interval(metric) for metric in ("accuracy", "auc", "eer")}


def test_people_whom_nobody_names_cannot_be_resampled(grouped):
    folder, rows = grouped
    (folder / "list.csv").write_text("\n".join(f"{first},{second},{same}" for first, second, same, *_ in rows))
    options = Options(unit="people", images=folder / "people")
    write_pairs(folder / "set.bin", [(folder / "people" / rows[0][0]).read_bytes()] * 40, [True, False] * 10)
    for text in ("list.csv", "set.bin"):
        with pytest.raises(InputError, match="--unit people: set does not say who is on its pictures; give a list"):
            open_target(str(folder / text), "set", options)


def test_a_published_tree_gives_the_figures_of_a_set_of_the_same_pairs(tmp_path):
    rng = np.random.default_rng(3)
    lines, images, issame = ["10\t1"], [], []
    for fold in range(10):
        for number in (1, 2):
            (tmp_path / f"A_{fold}").mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"A_{fold}" / f"A_{fold}_{number:04d}.jpg")
    for fold in range(10):
        other = (fold + 1) % 10
        lines += [f"A_{fold}\t1\t2", f"A_{fold}\t1\tA_{other}\t2"]
        for name, number in ((fold, 1), (fold, 2), (fold, 1), (other, 2)):
            images.append((tmp_path / f"A_{name}" / f"A_{name}_{number:04d}.jpg").read_bytes())
        issame += [True, False]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    write_pairs(tmp_path / "lfw.bin", images, issame)
    options = Options(replicates=0, diagnose=DEEP)
    tree, whole = scored(f"lfw:{tmp_path}", options), scored(tmp_path / "lfw.bin", options)
    assert whole.findings
    assert tree.findings == whole.findings  # pictures are those of the pairs, in their order
    np.testing.assert_array_equal(tree.result.issame_P, whole.result.issame_P)
    np.testing.assert_allclose(tree.result.distances_P, whole.result.distances_P, rtol=1e-5)
    assert tree.result.fold_thresholds == whole.result.fold_thresholds
    assert tree.names[2].endswith("A_0/A_0_0001.jpg")
    assert whole.names is None


def test_photos_are_aligned_to_the_size_that_each_model_takes(tmp_path):
    paths = []
    for index in range(4):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(photo_of(240, 200, (40 + 9 * index, 30, 80, 60 + 10 * index))).save(paths[-1])
    pairs = Pairs(FilePictures(paths, Aligner(RedFaces(), size=112)), np.array([True, False] * 10))
    target = PairsTarget("set", pairs, rows_N=np.arange(40) % 4, options=OPTIONS)
    for side in (112, 48):
        seen = set()

        def noting(x_BCHW, seen=seen):
            seen.add(tuple(x_BCHW.shape[2:]))
            return x_BCHW.mean(dim=(2, 3)) + torch.arange(3) * x_BCHW[:, 2:, 3, 3]

        model = Embedder(noting, (side, side), {"file": f"{side}.onnx"})
        target.require_fit(model)
        target.score(model, runtime=Runtime(), batch_size=8)
        assert seen == {(side, side)}
        own = pairs.images.made_for((side, side))
        direct = Aligner(RedFaces(), size=side)
        for index, path in enumerate(paths):
            expected = direct.face_of(np.asarray(Image.open(path))).crop_SSC
            np.testing.assert_array_equal(own[index], expected)
    assert pairs.images.made_for(None) is pairs.images
    with pytest.raises(InputError, match="takes 96x112 pixels, and aligned faces are square"):
        target.require_fit(Embedder(embed, (112, 96), {"file": "tall.onnx"}))


def test_aligned_pictures_stay_as_they_are_and_do_not_fit_a_model_of_another_size(tmp_path):
    write_people(tmp_path, {"ann": 2})
    pictures = FilePictures([str(tmp_path / "ann" / "0.jpg")])
    assert pictures.made_for((48, 48)) is pictures
    target = PairsTarget("set", Pairs(pictures, np.array([True, False] * 10)), rows_N=np.zeros(40, int))
    with pytest.raises(InputError, match="set has pictures of 16x16 pixels, but big.onnx takes 48x48.*--detector"):
        target.require_fit(Embedder(embed, (48, 48), {"file": "big.onnx"}))
