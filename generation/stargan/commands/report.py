"""Judge the edits of a generator on pictures it was not trained on, by edit and by epoch; writes a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from generation.embedding import embed_with
from generation.stargan.attribute_judge import AttributeJudge
from generation.stargan.attributes import edits_of
from generation.stargan.checkpoint import StarGANCheckpoint, checkpoints_of, read_checkpoint
from generation.stargan.commands.arguments import add_pictures
from generation.stargan.editing import sample_rows
from generation.stargan.evaluation import edit_rows, edits_by, epoch_rows, gain_sentence
from generation.stargan.measures import (
    few_lines,
    identity_measures,
    inception_measures,
    likeness_measures,
    missing_lines,
    picture_measures,
)
from generation.stargan.pictures import TEST, TRAIN, AttributePictures, open_pictures
from generation.stargan.report import write_report
from recognition.errors import InputError
from recognition.report.writing import require_writable

ROWS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The generator, the pictures, who judges, and where to write."""
    add = parser.add_argument
    add("model", type=Path, metavar="RUN", help="folder of a run of launch/stargan.py, or one checkpoint")
    add("--data", type=Path, required=True, help="the pictures that it was trained on, of which some are kept apart")
    add_pictures(parser)
    add("--judge", type=Path, metavar="FILE", help="of launch/edits.py judge: says which attributes an edit has")
    add("--recogniser", metavar="RUN", help="tells people apart: a run of launch/train.py, weights or an ONNX file")
    add("--inception", type=Path, metavar="FILE", help="FID, KID and IS are by: pt_inception-2015-12-05-6726825d.pth")
    add("--lpips", type=Path, metavar="FILE", help="LPIPS is by: alexnet-owt-7be5be79.pth, or vgg16-397923af.pth")
    add("--max_pictures", type=int, default=500, metavar="N", help="of an edit, evenly spread (default: %(default)s)")
    add("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")
    add("--out", type=Path, required=True, help="folder to write into")


def run(given: argparse.Namespace) -> None:
    """Judge, write, and say what was found."""
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.max_pictures < 2:
        raise InputError(f"--max_pictures {given.max_pictures}: must be at least 2")
    checkpoint = read_checkpoint(given.model)
    require_writable(given.out)
    judge = None if given.judge is None else AttributeJudge.open(given.judge)
    embed, by = (None, None) if given.recogniser is None else (embed_with(given.recogniser), f"{given.recogniser}")
    measures = [
        *inception_measures(given.inception),
        *likeness_measures(given.lpips, checkpoint.image_size),
        *identity_measures(embed, by),
        *picture_measures(),
    ]
    measures.sort(key=lambda measure: measure.of is None)  # what is not there comes last
    pictures = _pictures(given, checkpoint)
    test = pictures.split(TEST)
    if len(test) < 2:
        raise InputError(
            f"{given.data} keeps {len(test)} pictures apart, and two are needed: give a larger --test_size"
        )
    edits = edits_by(checkpoint.generator(), test, pictures, most=given.max_pictures)
    if not edits:
        raise InputError(f"none of the {len(test)} pictures kept apart has an attribute that an edit begins with")
    rows = edit_rows(edits, measures, judge)
    epochs = epoch_rows(
        _of_epochs(given.model, checkpoint), test, pictures.split(TRAIN), measures, judge, most=given.max_pictures
    )
    warnings = _warnings(checkpoint, pictures, test, judge, given.recogniser)
    gain = gain_sentence(rows)
    columns, shown = sample_rows(checkpoint.generator(), test, ROWS)
    found = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edits": rows,
        "epochs": epochs,
        "gain": gain,
        "notes": few_lines(rows),
        "warnings": warnings,
        "are_unseen": not warnings,
        "history": checkpoint.history,
        "facts": {
            "attributes": list(checkpoint.attributes),
            "pictures_kept_apart": len(test),
            "edits_that_no_picture_allows": _without_pictures(test, rows) or None,
            "image_size": checkpoint.image_size,
            "generator": _described(checkpoint),
            "judge": None if judge is None else _told_of(judge, checkpoint.attributes),
            "recogniser": by,
            **{measure.title: measure.by for measure in measures if measure.by and measure.by != by},
            "data": str(given.data),
        },
    }
    page = write_report(given.out, found, measures, columns, shown)
    told = [*(f"Note: {line}" for line in (*warnings, *found["notes"])), *([gain] if gain else [])]
    for line in [*told, *missing_lines(measures)]:
        print(line)
    print(f"report: {page}")


def _pictures(given: argparse.Namespace, checkpoint: StarGANCheckpoint) -> AttributePictures:
    """As the run had them, where the command line does not say otherwise."""
    settings = checkpoint.settings
    crop_size = settings["crop_size"] if given.crop_size is None else given.crop_size
    test_size = settings["test_size"] if given.test_size is None else given.test_size
    return open_pictures(
        given.data,
        given.attr_path,
        checkpoint.attributes,
        checkpoint.image_size,
        crop_size,
        test_size=test_size,
        skip_missing=settings["skip_missing"] or given.skip_missing,
    )


def _of_epochs(run: Path, checkpoint: StarGANCheckpoint) -> list[Path]:
    """Those that were kept on the way to this one, and it; not those of a run that went on otherwise."""
    kept = (read_checkpoint(path) for path in (checkpoints_of(run) if run.is_dir() else []))
    earlier = [each for each in kept if each.path != checkpoint.path and _led_to(each, checkpoint)]
    paths = [each.path for each in earlier]
    return paths if any(each.epoch == checkpoint.epoch for each in earlier) else [*paths, checkpoint.path]


def _led_to(earlier: StarGANCheckpoint, checkpoint: StarGANCheckpoint) -> bool:
    return earlier.history == checkpoint.history[: len(earlier.history)]


def _warnings(
    checkpoint: StarGANCheckpoint,
    pictures: AttributePictures,
    test: AttributePictures,
    judge: AttributeJudge | None,
    recogniser: str | None,
) -> list[str]:
    """A sentence on whoever may have been trained on what is judged here."""
    found = []
    if checkpoint["test_sha256"] != test.files_sha256():
        is_same = checkpoint["data_sha256"] == pictures.sha256
        found.append(
            "the generator was trained on some of these pictures (--test_size): its figures flatter it"
            if is_same
            else "these are not the pictures that the run kept apart; whether it was trained on them is not known"
        )
    if recogniser is not None and checkpoint.settings["lambda_id"] and recogniser == checkpoint.settings["recogniser"]:
        found.append("the generator was trained to please this recogniser; let another one judge identity")
    if judge is not None and judge.facts.get("judged_on_sha256") != test.files_sha256():
        found.append("the judge of attributes kept other pictures apart, and may have been trained on these")
    return found


def _without_pictures(test: AttributePictures, rows: Sequence[dict[str, Any]]) -> list[str]:
    made = {row["edit"] for row in rows}
    return [edit.name for edit in edits_of(test.names, exclusive=test.exclusive) if edit.name not in made]


def _described(checkpoint: StarGANCheckpoint) -> str:
    generator = checkpoint.generator()
    size = sum(parameter.numel() for parameter in generator.parameters())
    kind = "residual" if generator.residual else "as in the paper"
    return f"{size:,} parameters, {kind}, {checkpoint.epoch} epochs, moving average of the weights"


def _told_of(judge: AttributeJudge, names: Sequence[str]) -> str:
    accuracy = judge.facts["accuracy"]
    shares = ", ".join(f"{name} {accuracy[name]['accuracy']:.1%}" for name in names if name in accuracy)
    return f"a network trained apart, right on pictures it has not seen: {shares}"
