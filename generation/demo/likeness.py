"""How alike generated people are to who they should be: adapters against each other, by recognisers, with intervals.

    python -m generation.demo.likeness RUN_WITHOUT RUN_WITH --people PEOPLE [--noises 8] --out OUT

Both runs adapt the same models to the same people; the first trained without the identity loss, the second with it.
Each person is generated from the same noises by both, and by the models without an adapter, and compared with pictures
of the person that no run has seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.demo.dataset import UNSEEN
from generation.demo.likeness_page import write_page
from generation.demo.overhead import step_times_ms
from generation.identity.latents import decode, encode
from generation.intervals import CONFIDENCE, interval
from generation.lora.adapter import add_adapter, load_adapter
from generation.lora.batches import keyed_generator
from generation.lora.cache import Cache
from generation.lora.config import LoraConfig, config_of_run
from generation.lora.models import Models, open_models
from generation.lora.pictures import generated, read_picture
from generation.lora.prompts import PromptReader, stacked
from generation.lora.rows import Row
from generation.lora.rows import read_rows as read_list
from generation.lora.step import LoraStep
from generation.pictures import batch_of, pixels_of
from recognition.command import run_command
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.runtime import Runtime, start_runtime
from recognition.training.metrics import read_rows

SCHEMA = "arcscale.likeness.1"
BASE, WITHOUT, WITH, REAL = "no adapter", "without the loss", "with the loss", "pictures to learn from"
HELD_OUT, TRAINING = "held_out", "training"
SHOWN, COLUMNS = 8, ((REAL, 0), (BASE, 0), (WITHOUT, 0), (WITH, 0), (WITHOUT, 1), (WITH, 1))
JUDGING = int.from_bytes(b"judge", "big")


@dataclass(frozen=True)
class Person:
    """Whom a run has learnt: the rows of the list, and the pictures that it has not seen, img01 (M, 3, S, S)."""

    name: str
    rows: tuple[Row, ...]
    unseen_MCHW: Tensor


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("without", type=Path, metavar="RUN_WITHOUT", help="run with face_loss_weight=0")
    parser.add_argument("with_", type=Path, metavar="RUN_WITH", help="run with another weight, all else equal")
    parser.add_argument("--people", type=Path, required=True, help="folder that generation.demo.dataset wrote")
    parser.add_argument("--noises", type=int, default=8, help="pictures of each person by each adapter (default: 8)")
    parser.add_argument("--out", type=Path, required=True, help="folder for index.html and report.json")
    given = parser.parse_args()
    if given.noises < 2:
        raise InputError(f"--noises {given.noises}: must be at least 2, the page shows two")
    cfg = config_of_run(given.with_)
    if not (cfg.held_out_recogniser and cfg.arcface_weights):
        raise InputError(f"{given.with_} had no held_out_recogniser or no arcface_weights; run it again with both")
    with start_runtime("cpu", threads=1, collective_timeout_s=cfg.collective_timeout_s) as runtime:
        pictures, people = pictures_of(given.without, given.with_, given.people, noises=given.noises, runtime=runtime)
        cosines = {
            name: judged(pictures, people, Path(path))
            for name, path in ((HELD_OUT, cfg.held_out_recogniser), (TRAINING, cfg.arcface_weights))
        }
        times_ms = step_times_ms(cfg, runtime)
    runs = {WITHOUT: read_rows(given.without, "monitor"), WITH: read_rows(given.with_, "monitor")}
    facts = {
        "people": len(people),
        "pictures of each person to learn from": len(people[0].rows),
        "generated pictures of each person": given.noises,
        "face_loss_weight": cfg.face_loss_weight,
        "steps": cfg.max_steps,
        "rank": cfg.rank,
        "seed": cfg.seed,
    }
    found = summary(cosines, times_ms, runs, facts)
    page = write_page(given.out, found, picture_rows(pictures, people))
    gain = found["gain"][HELD_OUT]
    print(
        f"likeness by the held-out recogniser: {gain['mean']:+.3f} with the loss, {CONFIDENCE:.0%} interval "
        f"{gain['low']:+.3f} to {gain['high']:+.3f}, {len(people)} people; a step takes {found['overhead']:+.0%}"
    )
    print(f"report: {page}")


def summary(
    cosines: Mapping[str, Mapping[str, np.ndarray]],
    times_ms: Mapping[str, float],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """All that the page says, JSON: `cosines` as `judged` gives them, by recogniser."""
    likeness = {
        recogniser: {maker: np.diagonal(matrix_PP) for maker, matrix_PP in of_makers.items()}
        for recogniser, of_makers in cosines.items()
    }
    real_PP = cosines[HELD_OUT][REAL]
    makers = [
        {
            "name": maker,
            **{recogniser: asdict(interval(likeness[recogniser][maker])) for recogniser in likeness},
            "taken_for_the_right_one": float((matrix_PP.argmax(1) == np.arange(len(matrix_PP))).mean()),
        }
        for maker, matrix_PP in cosines[HELD_OUT].items()
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "facts": dict(facts),
        "makers": makers,
        "strangers": float(real_PP[~np.eye(len(real_PP), dtype=bool)].mean()),
        "gain": {
            recogniser: asdict(interval(of_makers[WITH] - of_makers[WITHOUT]))
            for recogniser, of_makers in likeness.items()
        },
        "per_person": {maker: likeness[HELD_OUT][maker].tolist() for maker in (WITHOUT, WITH)},
        "monitor": {
            name: {key: [row.get(key) for row in rows] for key in ("step", "held_out_cos", "train_cos")}
            for name, rows in runs.items()
        },
        "step_ms": dict(times_ms),
        "overhead": times_ms["with"] / times_ms["without"] - 1,
    }


def picture_rows(pictures: Mapping[str, np.ndarray], people: Sequence[Person]) -> list[list[np.ndarray]]:
    """For some people: unseen, through the VAE, by no adapter, and twice by either adapter."""
    rows = []
    for place in range(min(SHOWN, len(people))):
        unseen = pixels_of(people[place].unseen_MCHW[:1])[0].numpy()
        made = [pictures[maker][place][index] for maker, index in COLUMNS]
        rows.append([unseen, *made])
    return rows


def pictures_of(
    without: Path, with_: Path, folder: Path, *, noises: int, runtime: Runtime
) -> tuple[dict[str, np.ndarray], list[Person]]:
    """Pictures by who made them, uint8 (people, noises, S, S, 3), and the people."""
    cfg = config_of_run(with_)
    people = people_of(cfg, folder)
    made = {}
    for name, run in ((BASE, None), (WITHOUT, without), (WITH, with_)):
        models = open_models(cfg, runtime.device)
        add_adapter(models.transformer, cfg)  # as it begins, it changes nothing
        if run is not None:
            load_adapter(models.transformer, run)
        made[name] = np.stack(
            [_generated(models, cfg, person, noises, runtime, place) for place, person in enumerate(people)]
        )
    with torch.no_grad():
        made[REAL] = np.stack([_through(models, cfg, person, noises) for person in people])
    return made, people


def people_of(cfg: LoraConfig, folder: Path) -> list[Person]:
    """Everybody in the list of samples, with their unseen pictures in `folder`."""
    rows, _ = read_list(Path(cfg.data), needs_references=True, has_text_encoders=False)
    names = sorted({Path(row.image).parent.name for row in rows})
    return [
        Person(
            name,
            tuple(row for row in rows if Path(row.image).parent.name == name),
            torch.stack(
                [read_picture(path, cfg.image_size, fills=True) for path in sorted((folder / UNSEEN / name).iterdir())]
            ),
        )
        for name in names
    ]


def judged(pictures: Mapping[str, np.ndarray], people: Sequence[Person], recogniser: Path) -> dict[str, np.ndarray]:
    """For each maker of pictures, mean cosines (people, people): of those of row i to unseen pictures of person j.

    The diagonal is the likeness to who it should be; in a row, the largest one is who it would be taken for.
    """
    embedder = open_embedder(recogniser, device=torch.device("cpu"))
    unseen_PMD = torch.stack([F.normalize(embedder(person.unseen_MCHW * 2 - 1)) for person in people])
    cosines = {}
    for name, pixels in pictures.items():
        emb_PND = torch.stack([F.normalize(embedder(batch_of(list(each)) * 2 - 1)) for each in pixels])
        cosines[name] = torch.einsum("pnd,qmd->pq", emb_PND, unseen_PMD).div(emb_PND.shape[1] * unseen_PMD.shape[1])
    return {name: each.numpy() for name, each in cosines.items()}


def _generated(
    models: Models, cfg: LoraConfig, person: Person, noises: int, runtime: Runtime, place: int
) -> np.ndarray:
    """Pictures of a person, each as another one of the rows describes it, from noises that all adapters share.

    `place`: of the person among all, to whom the noises belong.
    """
    rows = [person.rows[index % len(person.rows)] for index in range(noises)]
    read = PromptReader(cfg, models.family, models.transformer.config, Cache(cfg.cache_dir), runtime.device)
    prompts = stacked([read(row) for row in rows])
    side = cfg.image_size // models.scale
    shape = (noises, models.vae.config.latent_channels, side, side)
    noise = torch.randn(shape, generator=keyed_generator(JUDGING, cfg.seed, place))
    predict = partial(LoraStep(models, cfg, runtime).predict, prompts)
    return generated(predict, models.vae, noise, steps=cfg.sample_steps).numpy()


def _through(models: Models, cfg: LoraConfig, person: Person, count: int) -> np.ndarray:
    """Pictures to learn from as the VAE can show them: no adapter is asked for more."""
    rows = [person.rows[index % len(person.rows)] for index in range(count)]
    img01 = torch.stack([read_picture(row.path("image"), cfg.image_size, fills=True) for row in rows])
    return pixels_of(decode(models.vae, encode(models.vae, img01))).numpy()


if __name__ == "__main__":
    run_command(main)
