"""Whole LoRA runs that take a second or two on a CPU: drawn faces, tiny untrained models, boxes that are known."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation.lora.config import LoraConfig, load_lora_config
from generation.lora.loop import train
from generation.pictures import pixels_of
from recognition.runtime import Runtime
from tests.conftest import CONFIGS
from tests.generation.identity.drawn_faces import BOX, SIDE, portraits, weights_file

IMAGE_SIZE, TOKENS, WIDTH = 32, 4, 32
SMALL = (
    "transformer=tiny-flux", "vae=tiny", f"image_size={IMAGE_SIZE}", "rank=4", "alpha=6", "batch_size=2", "max_steps=2",
    "lr=0.01", "frequent=1", "device=cpu", "threads=1", "using_tensorboard=False", "sample_steps=2", "num_samples=2",
    "monitor_every=0", "sample_every=0", "checkpoint_steps=0", "checkpoint_minutes=0",
)  # fmt: skip
FACES = ("use_face_loss=True", "arcface_model=r_tiny", "face_loss_weight=0.5")


@cache
def people(folder: Path, count: int = 6) -> Path:
    """A list of `count` samples, each of another person; the third is "person_hair", the others have a face loss."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, boxes = [], {}
    scaled = [(value + 0.5) * IMAGE_SIZE / SIDE - 0.5 for value in BOX]
    for index, pixels_HWC in enumerate(pixels_of(portraits(*range(count))).numpy()):
        name = f"p{index}.png"
        Image.fromarray(pixels_HWC).save(folder / name)
        boxes[name] = {"box": scaled}
        drawn = torch.Generator().manual_seed(index)
        prompt = {
            "prompt_embeds": torch.randn(TOKENS, WIDTH, generator=drawn),
            "pooled_prompt_embeds": torch.randn(WIDTH, generator=drawn),
        }
        save_file(prompt, folder / f"p{index}.safetensors")
        kind = "person_hair" if index == 2 else "person"
        rows.append({"image": name, "ref_image": name, "prompt_embeds": f"p{index}.safetensors", "data_type": kind})
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return write_rows(folder / "faces.jsonl", rows)


def write_rows(path: Path, rows: list) -> Path:
    """A list of samples with these lines: objects, or text as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read_back(path: Path) -> list[dict]:
    """The objects in a list's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def small(folder: Path, *overrides: str, faces: bool = False) -> LoraConfig:
    """Two steps of two samples of `people`, and with `faces` the identity loss by r_tiny."""
    data = people(folder.parent / "people")
    options = [*SMALL, f"data={data}", f"output={folder}"]
    if faces:
        weights = weights_file(data.parent)
        options += [*FACES, f"arcface_weights={weights}", f"detector={data.parent / 'boxes.json'}"]
    return load_lora_config(CONFIGS / "lora_base.py", [*options, *overrides])


def run(folder: Path, *overrides: str, faces: bool = False, runtime: Runtime | None = None) -> Path:
    """The folder of that run, finished."""
    return train(small(folder, *overrides, faces=faces), runtime or Runtime())


def adapter(run_dir: Path) -> dict[str, torch.Tensor]:
    """The adapter that a run left."""
    return load_file(run_dir / "adapter" / "pytorch_lora_weights.safetensors")


def rows_of(run_dir: Path, kind: str) -> list[dict]:
    """The rows of one kind in metrics.jsonl, without what depends on the clock."""
    timed = ("images_per_s", "data_wait", "eta_s")
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in timed} for row in lines if row["kind"] == kind]
