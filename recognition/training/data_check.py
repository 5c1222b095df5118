"""Before a run begins: the main rank looks at the training set, and all ranks make sure that they see the same one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from recognition.collectives import gather_text
from recognition.config import TrainConfig
from recognition.data.label_noise import NoisySource
from recognition.data.preflight import Preflight, preflight
from recognition.data.sources import Source
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.bad_records import tolerated_records


def check_data(source: Source, cfg: TrainConfig, runtime: Runtime, data_sha256: str | None) -> Preflight:
    """What the main rank found, on all ranks; a collective, as long as that takes.

    InputError on all ranks for what `preflight` refuses, and when ranks see different sets.
    """
    said: dict[str, Any] = {"size": [len(source), source.num_classes], "sha256": data_sha256}
    if runtime.is_main:
        # Noise on labels is meant: what it makes of the classes is no finding.
        clean = source.source if isinstance(source, NoisySource) else source
        try:
            found = preflight(clean, image_size=cfg.image_size, tolerated=tolerated_records(cfg))
            said["found"] = asdict(found)
        except InputError as error:
            said["error"] = str(error)
    runtime.wait_for_all("the look at the training set")
    answers = [json.loads(text) for text in gather_text(json.dumps(said), runtime, what="the look at the training set")]
    main = answers[0]
    if others := [rank for rank, answer in enumerate(answers) if _differs(answer, main)]:
        raise InputError(
            f"{cfg.rec} is not the same set on all ranks: rank {', '.join(map(str, others))} of {runtime.world} see "
            f"other files than rank 0; copy one set to all machines, or share it"
        )
    if "error" in main:
        raise InputError(main["error"])
    return Preflight(**main["found"])


def _differs(answer: dict[str, Any], main: dict[str, Any]) -> bool:
    """A rank that cannot tell what the files hold (None) still has as many of them."""
    hashes = {answer["sha256"], main["sha256"]} - {None}
    return answer["size"] != main["size"] or len(hashes) > 1
