"""Samples before a run: encoded once for all runs, and what is wrong with any of them said before the first step."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation.identity.latents import encode
from generation.lora.cache import Cache
from generation.lora.faces import References, face_loss_of
from generation.lora.models import open_models
from generation.lora.prompts import PromptReader
from generation.lora.samples import KIND, prepare_samples
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.generation.lora.small_lora import read_back, small, write_rows
from tests.ranks import run_ranks

CPU = torch.device("cpu")


@pytest.fixture
def cfg(tmp_path):
    """A config with faces on a copy of the data, whose cache is empty."""
    made = small(tmp_path / "run", faces=True)
    folder = tmp_path / "copy"
    shutil.copytree(tmp_path / "people", folder, ignore=shutil.ignore_patterns("*.cache"))
    return dataclasses.replace(made, data=str(folder / "faces.jsonl"))


class Prepared:
    """What preparing a run made of its list; `found` is how often the detector was asked."""

    def __init__(self, cfg, runtime=None):
        models = open_models(cfg, CPU)
        self.cache, self.vae = Cache(cfg.cache_dir), models.vae
        prompts = PromptReader(cfg, models.family, models.transformer.config, self.cache, CPU)
        self.references = References.of(face_loss_of(cfg, models, CPU), cfg.image_size, self.cache)
        self.samples = prepare_samples(cfg, models, prompts, self.references, self.cache, runtime or Runtime())

    @property
    def made(self):
        return dict(self.cache.made)


def changed(cfg, change):
    """The config with `change` done to the lines of its list."""
    path = Path(cfg.data)
    lines = read_back(path)
    change(lines, path.parent)
    write_rows(path, lines)
    return cfg


def complaint(cfg):
    with pytest.raises(InputError) as error:
        Prepared(cfg)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_second_run_encodes_nothing_and_knows_the_same(cfg):
    first = Prepared(cfg)
    assert first.made == {"latents": 6, "faces": 5}
    again = Prepared(cfg)
    assert again.made == {}
    assert again.samples == first.samples
    known, of_first = again.references.comparison.known, first.references.comparison.known
    assert known.keys() == of_first.keys()
    for name, reference in known.items():
        assert torch.equal(reference.features["bbox"][0], of_first[name].features["bbox"][0])
        assert torch.equal(reference.found.box_4, of_first[name].found.box_4)


def test_latents_are_those_of_the_vae(cfg):
    prepared = Prepared(cfg)
    pixels = np.asarray(Image.open(f"{cfg.data.removesuffix('faces.jsonl')}p0.png").resize((32, 32), Image.BICUBIC))
    with torch.no_grad():
        expected = encode(prepared.vae, torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255)[0]
    stored = prepared.cache.get(KIND, prepared.samples[0].latents_key)["latents"]
    assert torch.equal(stored, expected)


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({"seed": 1}, {"latents": 6}),  # another tiny VAE
        ({"image_size": 64}, {"latents": 6, "faces": 5}),
        ({"face_align_mode": "kps"}, {"faces": 5}),
        ({"lr": 1.0}, {}),
    ],
)
def test_what_depends_on_something_else_is_made_anew(cfg, changes, made):
    Prepared(cfg)
    assert Prepared(dataclasses.replace(cfg, **changes)).made == made


def test_another_picture_of_the_same_name_and_other_boxes_are_noticed(cfg):
    before = Prepared(cfg)

    def repaint(lines, folder):
        Image.new("RGB", (160, 160), (90, 80, 70)).save(folder / "p0.png")

    after = Prepared(changed(cfg, repaint))
    assert after.made == {"latents": 1, "faces": 1}
    assert after.samples.sha256 != before.samples.sha256
    boxes = json.loads(Path(cfg.detector).read_text())
    moved = cfg.output_dir.parent / "moved.json"
    moved.write_text(json.dumps(boxes | {"p1.png": {"box": [1, 1, 20, 20]}}))
    assert Prepared(dataclasses.replace(cfg, detector=str(moved))).made == {"faces": 1}


def test_another_prompt_of_the_same_name_is_other_data(cfg):
    before = Prepared(cfg).samples.sha256
    assert Prepared(cfg).samples.sha256 == before
    assert Prepared(changed(cfg, lambda lines, folder: REDRAW(folder))).samples.sha256 != before


def test_a_damaged_file_of_the_cache_is_made_anew(cfg):
    first = Prepared(cfg)
    (path,) = cfg.cache_dir.glob(f"latents/*/{first.samples[3].latents_key}.safetensors")
    expected = path.read_bytes()
    path.write_bytes(expected[:50])
    assert Prepared(cfg).made == {"latents": 1}
    assert path.read_bytes() == expected


def break_second(lines, folder):
    (folder / "p1.png").write_bytes(b"no picture")
    lines[4]["imge"] = "x"


def test_a_bad_line_ends_the_run_or_is_left_out_and_counted(cfg):
    changed(cfg, break_second)
    assert "faces.jsonl:5: unknown key 'imge'" in complaint(cfg)
    prepared = Prepared(dataclasses.replace(cfg, on_bad_row="skip"))
    assert [sample.row.image for sample in prepared.samples.samples] == ["p0.png", "p2.png", "p3.png", "p5.png"]
    assert [problem.split(": ")[0].rpartition("/")[2] for problem in prepared.samples.left_out] == [
        "faces.jsonl:5",
        "faces.jsonl:2",
    ]


def test_where_no_line_is_good_skipping_does_not_help(cfg):
    def spoil(lines, folder):
        for line in lines:
            line["image"] = "none.png"

    assert "none of its lines can be used" in complaint(dataclasses.replace(changed(cfg, spoil), on_bad_row="skip"))


def prompt(**tensors):
    """A change of the second line's prompt."""
    return lambda folder: save_file(load_file(folder / "p1.safetensors") | tensors, folder / "p1.safetensors")


REDRAW = prompt(pooled_prompt_embeds=torch.ones(32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "p1.png").unlink(), ["image", "is no file"]),
        (prompt(prompt_embeds=torch.zeros(4, 9)), ["(4, 9)", "(tokens, 32)"]),
        (prompt(pooled_prompt_embeds=torch.zeros(9)), ["(9,)", "(32,)"]),
        (prompt(prompt_embeds=torch.full((4, 32), torch.nan)), ["not finite"]),
        (prompt(prompt_embeds=torch.zeros(7, 32)), ["7 tokens", "others have 4"]),
        (lambda folder: save_file({"a": torch.zeros(1)}, folder / "p1.safetensors"), ["no prompt_embeds", "it has a"]),
        (lambda folder: (folder / "p1.safetensors").write_bytes(b"1"), ["not a readable safetensors"]),
    ],
)
def test_what_a_line_names_must_be_there_and_fit(cfg, change, words):
    text = complaint(changed(cfg, lambda lines, folder: change(folder)))
    assert [word for word in ["faces.jsonl:2: ", *words] if word not in text] == []


def test_arrays_of_numpy_are_read_and_pickled_ones_refused(cfg):
    def as_arrays(lines, folder):
        for line in lines:
            prompt = load_file(folder / line["prompt_embeds"])
            for key, name in (("prompt_embeds", "prompt_embeds"), ("pooled_embeds", "pooled_prompt_embeds")):
                np.save(folder / f"{line['image']}.{key}.npy", prompt[name].numpy())
                line[key] = f"{line['image']}.{key}.npy"

    assert len(Prepared(changed(cfg, as_arrays)).samples) == 6

    def pickle_one(lines, folder):
        np.save(folder / lines[1]["pooled_embeds"], np.array([{}], dtype=object), allow_pickle=True)

    assert ":2: pooled_embeds" in complaint(changed(cfg, pickle_one))


def test_no_face_in_any_reference_and_no_sample_that_wants_one(cfg):
    nowhere = cfg.output_dir.parent / "nowhere.json"
    nowhere.write_text(json.dumps({f"p{index}.png": None for index in range(6)}))
    text = complaint(dataclasses.replace(cfg, detector=str(nowhere)))
    assert "finds no face in any of 5 samples' ref_image" in text

    def rename(lines, folder):
        for line in lines:
            line["data_type"] = "person_hair"

    assert "use_face_loss is set, and no sample has both a ref_image and data_type person" in complaint(
        changed(cfg, rename)
    )
    looks = dataclasses.replace(cfg, use_face_loss=False, monitor_every=5)
    assert (
        "monitor_every asks for looks at faces, and no sample has both a ref_image and data_type person"
        in complaint(looks)
    )


def test_a_look_does_without_the_references_that_the_loss_needs(cfg):
    def lose_one(lines, folder):
        del lines[1]["ref_image"]

    assert "faces.jsonl:2: data_type 'person' has a face loss" in complaint(changed(cfg, lose_one))
    looks = dataclasses.replace(cfg, use_face_loss=False, monitor_every=5)
    assert [sample.has_face for sample in Prepared(looks).samples.samples] == [True, False, False, True, True, True]


def test_a_picture_that_the_boxes_do_not_know_is_found_out_before_the_run(cfg):
    def another(lines, folder):
        shutil.copy(folder / "p0.png", folder / "new.png")
        lines[0]["image"] = "new.png"

    assert ":1:" in complaint(changed(cfg, another))
    assert "'new.png'" in complaint(cfg)
    assert Prepared(dataclasses.replace(cfg, gen_face_source="reference")).samples[0].has_face


def test_one_box_is_not_taken_for_a_cut_and_a_padded_picture(cfg):
    def widen(lines, folder):
        with Image.open(folder / "p1.png") as opened:
            wide = Image.new("RGB", (200, 160))
            wide.paste(opened)
        wide.save(folder / "p1.png")

    text = complaint(changed(cfg, widen))
    assert "faces.jsonl:2: p1.png is a picture and a reference as well, and not square" in text

    def rename(lines, folder):
        shutil.copy(folder / "p1.png", folder / "r1.png")
        lines[1]["ref_image"] = "r1.png"

    boxes = json.loads(Path(cfg.detector).read_text())
    renamed = cfg.output_dir.parent / "renamed.json"
    renamed.write_text(json.dumps(boxes | {"r1.png": boxes["p1.png"]}))
    assert len(Prepared(dataclasses.replace(changed(cfg, rename), detector=str(renamed))).samples) == 6


def prepared_by(runtime, cfg):
    prepared = Prepared(cfg, runtime)
    return prepared.samples, prepared.made, sorted(prepared.references.comparison.known)


def test_ranks_share_the_work_and_all_know_all(cfg):
    (samples, made, known), (samples_1, made_1, known_1) = run_ranks(prepared_by, 2, cfg)
    assert samples == samples_1 == Prepared(cfg).samples
    assert made["latents"] == made_1["latents"] == 3
    assert made["faces"] + made_1["faces"] == 5
    assert known == known_1 == ["p0.png", "p1.png", "p3.png", "p4.png", "p5.png"]


def complaint_of_rank(runtime, cfg):
    try:
        Prepared(cfg, runtime)
    except InputError as error:
        return str(error)


def test_a_bad_line_of_one_rank_ends_all_with_the_same_words(cfg):
    changed(cfg, lambda lines, folder: (folder / "p3.png").write_bytes(b"1"))
    one, other = run_ranks(complaint_of_rank, 2, cfg)
    assert one == other
    assert "faces.jsonl:4:" in one
