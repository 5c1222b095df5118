"""The samples of a run, looked at before it begins: encoded where they were not, and what is wrong with any, said."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from generation.identity.latents import encode
from generation.lora.cache import Cache, CacheNotWritten, finite, key_of
from generation.lora.config import LoraConfig
from generation.lora.faces import References
from generation.lora.models import Models
from generation.lora.pictures import is_square, read_picture
from generation.lora.prompts import EMBEDS, PromptReader
from generation.lora.rows import Row, read_rows
from recognition.collectives import gather_text
from recognition.embedding.network import file_sha256
from recognition.errors import InputError
from recognition.runtime import Runtime

KIND = "latents"


@dataclass(frozen=True)
class Sample:
    """A row that can be used: where its latents are kept, and whether a face loss has a reference to go by."""

    row: Row
    latents_key: str
    has_face: bool


@dataclass(frozen=True)
class Samples:
    """All samples of a run, equal on all ranks; `sha256` tells what is in them, `left_out` why lines are not."""

    samples: tuple[Sample, ...]
    sha256: str
    left_out: tuple[str, ...] = ()

    @property
    def num_faces(self) -> int:
        """How many have a reference that shows a face; 0 where nothing asks for one."""
        return sum(sample.has_face for sample in self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def prepare_samples(
    cfg: LoraConfig,
    models: Models,
    prompts: PromptReader,
    references: References | None,
    cache: Cache,
    runtime: Runtime,
) -> Samples:
    """Read the list, and encode what the cache lacks, each rank its share; collective.

    InputError, equal on all ranks, for the first bad line, or with `on_bad_row` "skip" where no good one is left; where
    prompts have different lengths; and where a face loss is asked for and no reference has a face. CacheNotWritten, on
    the rank that found out.
    """
    rows, problems = read_rows(
        Path(cfg.data), needs_references=cfg.use_face_loss, has_text_encoders=cfg.text_encoders is not None
    )
    left_out = _left_out(cfg, [str(problem) for problem in problems])
    looker = _Looker(cfg, models, prompts, references, cache)
    own = range(runtime.rank, len(rows), runtime.world)
    hidden = None if runtime.is_main else True  # None: hidden unless a terminal watches
    looked = {
        index: looker.look(rows[index])
        for index in tqdm(own, "looking at the samples", delay=2, leave=False, disable=hidden)
    }
    prompts.forget_encoders()
    runtime.wait_for_all("a look at the samples")
    found: dict[int, dict[str, Any]] = {}
    for text in gather_text(json.dumps(looked), runtime, what="what was found of the samples"):
        found |= {int(index): facts for index, facts in json.loads(text).items()}
    left_out += _left_out(cfg, [found[index]["problem"] for index in range(len(rows)) if "problem" in found[index]])
    good = [index for index in range(len(rows)) if "problem" not in found[index]]
    if not good:
        raise InputError(f"data={cfg.data}: none of its lines can be used; the first: {left_out[0]}")
    _require_one_length([(rows[index], found[index]["tokens"]) for index in good])
    if references is not None:
        _require_faces(cfg, rows, [found[index] for index in good], good)
        _require_one_box(cfg, [(rows[index], found[index]) for index in good])
        for index in good:  # those that other ranks have looked at are in the cache now
            if found[index]["reference"]:
                references.learn(rows[index].ref_image, rows[index].path("ref_image"))
    samples = tuple(Sample(rows[index], found[index]["latents"], found[index]["has_face"]) for index in good)
    content = key_of([(found[index]["content"], rows[index].data_type) for index in good])
    return Samples(samples, content, tuple(left_out))


class _Looker:
    """Looks at one row after the other."""

    def __init__(
        self, cfg: LoraConfig, models: Models, prompts: PromptReader, references: References | None, cache: Cache
    ) -> None:
        self.cfg, self.models, self.prompts, self.references, self.cache = cfg, models, prompts, references, cache
        self.device = next(models.vae.parameters()).device

    def look(self, row: Row) -> dict[str, Any]:
        """What is known of a row, JSON; its `problem` where it has one."""
        try:
            image = row.path("image")
            content = file_sha256(image)
            latents_key = key_of(content, self.models.vae_sha256, self.cfg.image_size)
            tokens = len(self.prompts(row)[EMBEDS])
            # A line without one can be: looks, other than the loss, do without.
            wants_face = self.references is not None and row.wants_face and row.ref_image is not None
            reference = row.path("ref_image") if wants_face else None
            is_named = wants_face and self.references.picture_keys([row.image]) is not None
            has_face = reference is not None and self.references.learn(row.ref_image, reference)
            self.cache.get_or_make(KIND, latents_key, lambda: self._latents(row, image))
            # Not the reference that is only looked at: looks may come and go without another course of training.
            trained_by = ("ref_image",) if wants_face and self.cfg.use_face_loss else ()
            contents = [content, row.prompt, row.prompt and self.prompts.encoders_sha256]
            for key in (*trained_by, "prompt_embeds", "pooled_embeds"):
                contents.append(file_sha256(row.path(key)) if getattr(row, key) is not None else None)
            return {
                "latents": latents_key,
                "tokens": tokens,
                "reference": reference is not None,
                "has_face": has_face,
                "one_box": not is_named or is_square(image),
                "content": key_of(*contents),
            }
        except CacheNotWritten:
            raise
        except (InputError, OSError) as error:
            text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            return {"problem": text if text.startswith(row.where) else f"{row.where}: {text}"}

    @torch.no_grad()
    def _latents(self, row: Row, image: Path) -> dict[str, Tensor]:
        img01_CHW = read_picture(image, self.cfg.image_size, fills=True).to(self.device)
        return dict(finite({"latents": encode(self.models.vae, img01_CHW[None])[0].float()}, row.where))


def _left_out(cfg: LoraConfig, problems: list[str]) -> list[str]:
    """The problems again; InputError for the first unless lines with problems may be left out."""
    if problems and cfg.on_bad_row == "raise":
        more = "" if len(problems) == 1 else f", one of {len(problems)} such lines"
        raise InputError(f"{problems[0]}{more} (on_bad_row=skip leaves such lines out)")
    return problems


def _require_one_length(rows: list[tuple[Row, int]]) -> None:
    counts = Counter(tokens for _, tokens in rows)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        row, tokens = next(entry for entry in rows if entry[1] != usual)
        raise InputError(
            f"{row.where}: its prompt has {tokens} tokens, others have {usual}; a batch takes one length, so pad them "
            "alike when they are encoded"
        )


def _require_one_box(cfg: LoraConfig, found: list[tuple[Row, dict[str, Any]]]) -> None:
    """InputError for a name with one box and two pictures: cut as a picture to learn, padded as a reference."""
    references = {row.ref_image for row, facts in found if facts["reference"]}
    for row, facts in found:
        if not facts["one_box"] and row.image in references:
            raise InputError(
                f"{row.where}: {row.image} is a picture and a reference as well, and not square: it is cut as the one "
                f"and padded as the other, and {cfg.detector} has one box for both; copy the reference to another "
                "name, or make it square"
            )


def _require_faces(cfg: LoraConfig, rows: list[Row], found: list[dict[str, Any]], good: list[int]) -> None:
    wanting = [facts for facts in found if facts["reference"]]
    if not wanting:
        kinds = ", ".join(sorted({rows[index].data_type for index in good}))
        why, off = ("use_face_loss is set", "use_face_loss=False")
        if not cfg.use_face_loss:
            why, off = ("monitor_every asks for looks at faces", "monitor_every=0")
        raise InputError(
            f"data={cfg.data}: {why}, and no sample has both a ref_image and data_type person or person_head (they are "
            f"{kinds}); correct the list, or set {off}"
        )
    if not any(facts["has_face"] for facts in wanting):
        raise InputError(
            f"data={cfg.data}: detector={cfg.detector} finds no face in any of {len(wanting)} samples' ref_image; "
            "look at these pictures, or take another detector"
        )
