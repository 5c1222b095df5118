"""How well faces are turned: models against each other and against showing the source, by the target's yaw.

Each picture is judged as a file keeps it. A mean is one over people, of whom each counts once; its interval is that of
Student's t over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from generation.intervals import Interval, interval, per_person
from generation.metrics import as_bytes, pose_error_deg, psnr_db, ssim
from generation.pictures import batch_of, read_pixels
from generation.pose import pose_angles, rotation_matrices
from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.pairs import Pairs
from generation.posecontrol.pose_set import PoseSet
from recognition.errors import InputError

COPY, REAL = "copy of the source", "the target itself"
BIN_DEG, WIDEST_DEG = 15, 90
BATCH = 32
PSNR, SSIM, POSE = "psnr_db", "ssim", "pose_error_deg"
IDENTITY, LIKENESS = "identity_cos", "source_identity_cos"
TITLES = {
    PSNR: "PSNR in dB",
    SSIM: "SSIM",
    IDENTITY: "identity, cosine to the target",
    LIKENESS: "identity, cosine to the source",
    POSE: "pose error in degrees",
}
Embed = Callable[[Tensor], Tensor]
PoseOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Judged:
    """Values of each pair: `values[maker][metric]` (P,); the target's yaw and the person of each pair."""

    yaw_P: np.ndarray
    people_P: np.ndarray
    values: Mapping[str, Mapping[str, np.ndarray]]


@torch.no_grad()
def judge(
    models: Mapping[str, ImageControlNet],
    pose_set: PoseSet,
    pairs: Pairs,
    *,
    embed: Embed | None = None,
    pose_of: PoseOf | None = None,
    device: torch.device | None = None,
) -> Judged:
    """Let every model turn the source of every pair, and judge what comes of it, beside the source and the target.

    `embed` gives embeddings, and `pose_of` poses in degrees, of img01 pictures; without them these columns are missing.
    InputError for models of different picture sizes, and for no pairs.
    """
    sides = {model.image_size for model in models.values()}
    if len(sides) != 1:
        raise InputError(f"models of {sorted(sides)} pixels cannot be compared; judge each alone")
    if not len(pairs.front_P):
        raise InputError("there are no pairs to judge by; widen the angles, or bring more people to test")
    device, (side,) = device or torch.device("cpu"), sides
    parts: dict[str, dict[str, list[Tensor]]] = {}
    starts = range(0, len(pairs.front_P), BATCH)
    for at in tqdm(starts, "judging pairs", unit_scale=BATCH, unit="pair", delay=1, leave=False, disable=None):
        fronts, videos = pairs.front_P[at : at + BATCH], pairs.video_P[at : at + BATCH]
        source, target = (
            batch_of([read_pixels(view.paths[row], side, fills=True) for row in rows]).to(device)
            for view, rows in ((pose_set.front, fronts), (pose_set.video, videos))
        )
        pose_B3 = torch.from_numpy(pose_set.video.pose_N3[videos]).float().to(device)
        made = {name: turned(model, source, pose_B3) for name, model in models.items()}
        shown = {COPY: source, **made, REAL: target}
        for name, of_maker in _values(shown, pose_B3, embed, pose_of).items():
            for metric, value in of_maker.items():
                parts.setdefault(name, {}).setdefault(metric, []).append(value.cpu())
    values = {name: {metric: torch.cat(each).numpy() for metric, each in of.items()} for name, of in parts.items()}
    people_P = np.array([pose_set.video.people[row] for row in pairs.video_P])
    return Judged(_yaws(pose_set.video.pose_N3[pairs.video_P]), people_P, values)


@torch.no_grad()
def turned(model: ImageControlNet, source_img01_BCHW: Tensor, pose_B3_deg: Tensor) -> Tensor:
    """The pictures in these poses, img01, as a file would keep them."""
    return as_bytes((model(source_img01_BCHW * 2 - 1, pose_B3_deg).image_BCHW + 1) / 2)


def summary(judged: Judged) -> dict[str, Any]:
    """What a page shows: for each maker and metric the interval over people, in all and by the target's yaw."""
    of_bin_P = np.minimum(np.abs(judged.yaw_P) // BIN_DEG, WIDEST_DEG // BIN_DEG - 1)  # 90 degrees are in 75-90
    rows = [("all", np.ones(len(of_bin_P), bool))]
    rows += [(f"{int(b) * BIN_DEG}-{int(b + 1) * BIN_DEG}", of_bin_P == b) for b in np.unique(of_bin_P)]
    metrics = list(next(iter(judged.values.values())))
    return {
        "metrics": {metric: TITLES[metric] for metric in metrics},
        "bins": [
            {
                "yaw_deg": name,
                "pairs": int(chosen_P.sum()),
                "people": len(np.unique(judged.people_P[chosen_P])),
                "makers": {
                    maker: {metric: asdict(_mean(values[metric], judged, chosen_P)) for metric in metrics}
                    for maker, values in judged.values.items()
                },
            }
            for name, chosen_P in rows
        ],
    }


def gain(judged: Judged, metric: str, better: str, worse: str) -> Interval:
    """By how much one maker is above another on the same pairs, over people."""
    difference_P = judged.values[better][metric] - judged.values[worse][metric]
    return interval(per_person(difference_P.astype(np.float64), judged.people_P))


def markdown(found: Mapping[str, Any]) -> str:
    """The tables of a `summary`: one for each metric, a row for each range of yaw."""
    makers = list(found["bins"][0]["makers"])
    out = []
    for metric, title in found["metrics"].items():
        names = shown_makers(metric, makers)
        out += [f"### {title}", "", _row(["yaw in degrees", "pairs", *names]), _row(["---"] * (len(names) + 2))]
        for each in found["bins"]:
            cells = [cell(metric, each["makers"][maker][metric]) for maker in names]
            out.append(_row([each["yaw_deg"], str(each["pairs"]), *cells]))
        out.append("")
    return "\n".join(out)


def cell(metric: str, of: Mapping[str, float | None]) -> str:
    """A mean with its interval, as a person reads it."""
    digits = 1 if metric in (PSNR, POSE) else 3
    if of["low"] is None or of["low"] != of["low"]:
        return f"{of['mean']:.{digits}f}"
    return f"{of['mean']:.{digits}f} ({of['low']:.{digits}f} to {of['high']:.{digits}f})"


def shown_makers(metric: str, makers: Sequence[str]) -> list[str]:
    """Those whose column says something: a picture is equal to itself.

    The target's pose tells of who judges poses, and its likeness to the source how much alike pictures of a person are.
    """
    itself = {POSE: None, LIKENESS: COPY}.get(metric, REAL)
    return [maker for maker in makers if maker != itself]


def _values(
    shown: Mapping[str, Tensor], pose_B3: Tensor, embed: Embed | None, pose_of: PoseOf | None
) -> dict[str, dict[str, Tensor]]:
    """Of each maker's pictures, by metric (B,)."""
    target = shown[REAL]
    values = {name: {PSNR: psnr_db(made, target), SSIM: ssim(made, target)} for name, made in shown.items()}
    if embed is not None:
        emb = {name: embed(made).float() for name, made in shown.items()}
        for metric, other in ((IDENTITY, REAL), (LIKENESS, COPY)):
            for name, emb_BD in emb.items():
                values[name][metric] = F.cosine_similarity(emb_BD, emb[other])
    if pose_of is not None:
        for name, made in shown.items():
            values[name][POSE] = pose_error_deg(pose_of(made), pose_B3)
    return values


def _yaws(pose_P3_deg: np.ndarray) -> np.ndarray:
    """Yaws (P,) from -90 to 90 degrees, whatever angles the poses were written with."""
    angles_P3 = pose_angles(rotation_matrices(torch.from_numpy(pose_P3_deg)))
    return angles_P3[:, 1].numpy().round(6)  # 45 degrees stay 45


def _mean(values_P: np.ndarray, judged: Judged, chosen_P: np.ndarray) -> Interval:
    return interval(per_person(values_P[chosen_P].astype(np.float64), judged.people_P[chosen_P]))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
