"""Judge models on people they have not seen, against showing the source, by the target's yaw; writes a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from generation.backbone import FrozenBackbone
from generation.embedding import embed_with
from generation.pictures import batch_of, pixels_of, read_pixels, resized
from generation.posecontrol.checkpoint import PoseCheckpoint, read_checkpoint
from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.evaluation import (
    COPY,
    PSNR,
    Embed,
    Judged,
    PoseOf,
    gain,
    judge,
    markdown,
    summary,
    turned,
)
from generation.posecontrol.loop import HISTORY
from generation.posecontrol.pairs import Pairs, pairs_of
from generation.posecontrol.pose_judge import PoseJudge
from generation.posecontrol.pose_set import PoseSet, read_pose_set
from generation.posecontrol.report import write_report
from recognition.errors import InputError
from recognition.report.writing import require_writable
from recognition.spread import spread

ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models, the pictures, who judges, and where to write."""
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", help="checkpoints or runs of launch/controlnet.py, of one picture size")
    add("--names", nargs="+", help="of the models (default: their folders')")
    add("--data_dir", type=Path, required=True, help="folder of the four files")
    add("--image_dir", type=Path, help="folder of the pictures, where it is another one")
    add("--legacy_pose_order", action="store_true", help="take files that do not say the order of their angles")
    add("--people", choices=("test", "val", "all"), default="test", help="of the first model's split (default: test)")
    add(
        "--recogniser",
        help="that says how alike faces are: a run, weights or an ONNX file (default: the first model's encoder)",
    )
    add("--encoder", dest="encoder_at", help="where the models' recogniser lies now, if not where it was")
    add("--pose_judge", type=Path, help="file of launch/poses.py judge (default: the first model's own pose head)")
    add("--max_pairs", type=int, default=2000, help="evenly spread (default: %(default)s)")
    add("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")
    add("--out", type=Path, required=True, help="folder to write into")


def run(given: argparse.Namespace) -> None:
    """Judge, write, and say what was found."""
    if given.threads:
        torch.set_num_threads(given.threads)
    checkpoints = [read_checkpoint(path) for path in given.checkpoints]
    if given.max_pairs < 1:
        raise InputError(f"--max_pairs {given.max_pairs}: must be at least 1")
    require_writable(given.out)
    names = given.names or [each.path.parent.name for each in checkpoints]
    if len(set(names)) != len(checkpoints):
        raise InputError(
            f"names {', '.join(names)}: give each of the {len(checkpoints)} models one of its own, --names"
        )
    models = {
        name: each.model(recogniser=given.encoder_at).eval().requires_grad_(False)
        for name, each in zip(names, checkpoints)
    }
    first = models[names[0]]
    embed, identity_by = _embed(given.recogniser, first)
    pose_of, pose_by = _pose_of(given.pose_judge, first)
    pose_set = read_pose_set(given.data_dir, given.image_dir, legacy_pose_order=given.legacy_pose_order)
    pairs = _pairs(given, pose_set, checkpoints[0])
    judged = judge(models, pose_set, pairs, embed=embed, pose_of=pose_of)
    people = {*judged.people_P.tolist()}
    warnings = _warnings(people, pose_set, dict(zip(names, checkpoints)), pose_of)
    found: dict[str, Any] = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "table": summary(judged),
        "gains": _gains(judged, names),
        "warnings": warnings,
        "are_unseen": not warnings and all(each["data_sha256"] == pose_set.sha256 for each in checkpoints),
        "facts": {
            "people": len(people),
            "pairs": len(judged.people_P),
            "image_size": first.image_size,
            "identity_by": identity_by,
            "pose_by": pose_by,
            "data": str(given.data_dir),
            **{f"model {name}": _described(each, models[name]) for name, each in zip(names, checkpoints)},
        },
        "histories": {name: _history(each.path.parent) for name, each in zip(names, checkpoints)},
    }
    said = [f"Note: {line}" for line in warnings] + found["gains"]
    text = "\n".join(["# Faces turned to another pose", "", *said, "", markdown(found["table"])])
    page = write_report(given.out, found, text, *_pictures(models, pose_set, pairs))
    for line in said:
        print(line)
    print(f"report: {page}")


def _embed(recogniser: str | None, model: ImageControlNet) -> tuple[Embed | None, str | None]:
    if recogniser:
        return embed_with(recogniser), f"the recogniser {recogniser}"
    backbone = getattr(model.encoder, "backbone", None)
    if not isinstance(backbone, FrozenBackbone):
        return None, None
    whose = "the recogniser that is the first model's encoder"
    return (lambda img01_BCHW: backbone(resized(img01_BCHW, backbone.image_size))), whose


def _pose_of(path: Path | None, model: ImageControlNet) -> tuple[PoseOf, str]:
    if path is None:
        # A picture's pose does not hang on where it is to be turned to.
        def own(img01_BCHW: torch.Tensor) -> torch.Tensor:
            return model.angles_of(model.reconstruct(img01_BCHW * 2 - 1).source_pose_BP)

        return own, "the pose head of the first model"
    judge_of_pose = PoseJudge.open(path)
    error = judge_of_pose.facts.get("error_deg")
    known = "" if error is None else f" ({error:.1f} degrees of error on people it has not seen)"
    return judge_of_pose, f"a network of its own{known}"


def _pairs(given: argparse.Namespace, pose_set: PoseSet, checkpoint: PoseCheckpoint) -> Pairs:
    known = set(pose_set.people())
    split = checkpoint["split"]
    people = known if given.people == "all" else known & set(split[given.people])
    if not people:
        raise InputError(
            f"{given.data_dir} has none of the people that {checkpoint.path} left for --people {given.people}; "
            "for another set: --people all"
        )
    settings = checkpoint["args"]
    pairs = pairs_of(
        pose_set, people, min_angle_deg=settings["min_angle_diff"], max_angle_deg=settings["max_angle_diff"]
    )
    some = spread(len(pairs.front_P), given.max_pairs)
    return Pairs(pairs.front_P[some], pairs.video_P[some], pairs.angle_P[some])


def _warnings(
    people: set[str], pose_set: PoseSet, checkpoints: Mapping[str, PoseCheckpoint], pose_of: PoseOf
) -> list[str]:
    """A sentence on whoever was trained on people that are judged here."""
    seen = {
        f"the model {name}": people & {*each["split"]["train"]}
        for name, each in checkpoints.items()
        if each["data_sha256"] == pose_set.sha256
    }
    if isinstance(pose_of, PoseJudge):
        seen["the judge of poses"] = pose_of.has_seen(people, pose_set)
    return [
        f"{who} was trained on {len(known)} of these {len(people)} people: its figures flatter it"
        for who, known in seen.items()
        if known
    ]


def _gains(judged: Judged, names: Sequence[str]) -> list[str]:
    """Sentences on PSNR: each model against the source, and the first against each other."""
    pairs = [(name, COPY) for name in names] + [(names[0], other) for other in names[1:]]
    count = len({*judged.people_P.tolist()})
    lines = []
    for better, worse in pairs:
        of = gain(judged, PSNR, better, worse)
        sure = (
            f" (95 % interval {of.low:+.2f} to {of.high:+.2f}) over {count} people." if count > 1 else " of one person."
        )
        lines.append(f"{better} against {worse}: {of.mean:+.2f} dB of PSNR{sure}")
    return lines


def _described(checkpoint: PoseCheckpoint, model: ImageControlNet) -> str:
    settings = checkpoint["args"]
    size = sum(parameter.numel() for parameter in model.parameters())
    encoder = checkpoint["encoder"]["encoder"]
    return f"{settings['generator']} generator, encoder {encoder}, {size:,} parameters, {checkpoint['epoch']} epochs"


def _history(folder: Path) -> dict[str, Any]:
    path = folder / HISTORY
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); the report does not need it: delete it") from error


@torch.no_grad()
def _pictures(models: dict[str, ImageControlNet], pose_set: PoseSet, pairs: Pairs) -> tuple[list, list[str]]:
    """Rows of source, target and what each model makes, two pairs beside each other, and the names of these columns."""
    side = next(iter(models.values())).image_size
    some = spread(len(pairs.front_P), ROWS)
    fronts, videos = pairs.front_P[some], pairs.video_P[some]
    source, target = (
        batch_of([read_pixels(view.paths[row], side, fills=True) for row in rows])
        for view, rows in ((pose_set.front, fronts), (pose_set.video, videos))
    )
    pose_B3 = torch.from_numpy(pose_set.video.pose_N3[videos]).float()
    columns = [source, target, *(turned(model, source, pose_B3) for model in models.values())]
    pixels = [pixels_of(each).numpy() for each in columns]
    rows = [list(row) for row in zip(*pixels)]
    half = len(rows) // 2
    beside = [left + right for left, right in zip(rows[:half], rows[half:])] if half else rows
    return beside, ["source", "target", *models]
