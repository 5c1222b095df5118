"""Outcomes of every kind from made-up scores, for tests and for looking at pages (tests/report/look.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from recognition.data.synthetic import TRAINING, FaceRenderer
from recognition.targets.target import Scored

MODELS = (
    {"network": "r50", "file": "runs/first/model.safetensors", "params": 43590848, "config": {"rec": "a|b", "lr": 0.1}},
    {"network": "r100", "file": "runs/large/model.safetensors", "params": 65156160, "provenance": {"commit": "c0ffee"}},
    {"network": "vit_b", "file": "runs/vit/model.safetensors", "params": 113840000},
    {"network": "mbf", "file": "exported/mbf.onnx", "params": 2059520},
    {"network": "mbf_int8", "file": "exported/mbf-int8.onnx", "params": 2059520},
    {"network": "r18", "file": "runs/small/model.safetensors", "params": 24025600},
)
INTERVAL = {"tar": 0.02, "dir": 0.03}


@dataclass(frozen=True)
class Made:
    """An outcome whose facts are given."""

    known: dict[str, Any]
    warnings: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        return self.known

    def line(self) -> str:
        return "made up"


@dataclass
class MadeTarget:
    """A target whose comparisons are given; pictures are drawn faces, or none."""

    kind: str
    name: str
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    has_pictures: bool = True
    asked: list[int] = field(default_factory=list)

    def compare(self, outcomes):
        return self.comparisons

    def picture(self, index):
        self.asked.append(index)
        return drawn(index % 40) if self.has_pictures else None


@cache
def drawn(index: int) -> np.ndarray:
    """A face, uint8 (112, 112, 3)."""
    return FaceRenderer(112).draw(0, TRAINING, index, 0)


def scores(seed: int, genuine: int, impostor: int, apart: float = 0.45) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of genuine and of impostor pairs."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(apart, 0.13, genuine), -1, 1), np.clip(rng.normal(0, 0.08, impostor), -1, 1)


def error_figures(genuine: np.ndarray, impostor: np.ndarray, fars, key=("far", "tar")) -> dict[str, Any]:
    """Operating points, EER, AUC, ROC and histogram of cosines, the plain way."""
    ordered = np.sort(impostor)[::-1]
    points = []
    for far in fars:
        allowed = int(np.floor(far * len(impostor) + 1e-9))
        flag = "too_few_impostors" if allowed < 1 else "few_impostors" if allowed < 10 else None
        point = {key[0]: far, key[1]: None, "low": None, "high": None, "threshold": None, "flag": flag}
        point["allowed_false_accepts"] = allowed
        if allowed:
            tar = float(np.mean(genuine > ordered[allowed]))
            low, high = max(0.0, tar - INTERVAL[key[1]]), min(1.0, tar + INTERVAL[key[1]] / 2)
            point |= {key[1]: tar, "low": low, "high": high, "threshold": float(2 - 2 * ordered[allowed])}
        points.append(point)
    steps = np.unique(np.r_[ordered[:: max(len(ordered) // 500, 1)], ordered[:20], -1.01])[::-1]
    far = [0.0, *(float(np.mean(impostor > at)) for at in steps)]
    tar = [0.0, *(float(np.mean(genuine > at)) for at in steps)]
    eer = far[int(np.argmin(np.abs(np.array(far) + np.array(tar) - 1)))]
    edges = np.linspace(-0.4, 1, 41)
    return {
        "genuine": len(genuine),
        "impostor": len(impostor),
        "operating_points": points,
        "eer": eer,
        "auc": float(np.mean(genuine[:500, None] > impostor[None, :500])),
        "roc": {"far": far, "tar": tar, "distance": [None, *(2 - 2 * steps).tolist()]},
        "histogram": {
            "cosine_edges": edges,
            "genuine": np.histogram(genuine, edges)[0],
            "impostor": np.histogram(impostor, edges)[0],
        },
    }


def pairs_facts(seed: int, *, groups: int = 3, few: bool = False) -> dict[str, Any]:
    """Facts of a pair set of 3,000 + 3,000, or 300 + 300."""
    count = 300 if few else 3000
    genuine, impostor = scores(seed, count, count, 0.42 + 0.01 * seed)
    facts = error_figures(genuine, impostor, (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6))
    accuracy = float((np.mean(genuine > 0.2) + np.mean(impostor <= 0.2)) / 2)
    cosines = np.r_[genuine, impostor]
    order = np.argsort(cosines)
    wrong = {
        "false_accepts": [pair for pair in order[::-1] if pair >= count and cosines[pair] > 0.2][:6],
        "false_rejects": [pair for pair in order if pair < count and cosines[pair] <= 0.2][:6],
    }
    mistakes = {
        kind: [
            {
                "pair": int(pair),
                "distance": float(2 - 2 * cosines[pair]),
                "cosine": float(cosines[pair]),
                "first": f"Person_{pair}/a<b>.jpg",
                "second": f"Person_{pair}/b|c.jpg",
            }
            for pair in pairs
        ]
        for kind, pairs in wrong.items()
    }
    return facts | {
        "pairs": 2 * count,
        "accuracy": accuracy,
        "accuracy_std": 0.0034 + seed / 9999,
        "fold_accuracies": [accuracy - 0.001 * fold for fold in range(10)],
        "fold_thresholds": [1.6 + 0.01 * (fold % 3) for fold in range(10)],
        "threshold": 1.6,
        "tar_at_far": {f"{p['far']:g}": p["tar"] for p in facts["operating_points"]},
        "xnorm": 21.25 + seed,
        "intervals": {
            "accuracy": [accuracy - 0.004, min(1.0, accuracy + 0.003)],
            "auc": [facts["auc"] - 0.002, facts["auc"]],
            "eer": [facts["eer"] - 0.004, facts["eer"] + 0.005],
        },
        "resampling": {"unit": "pairs" if few else "people", "replicates": 1000, "seed": 0},
        "num_false_accepts": int(np.sum(impostor > 0.2)),
        "num_false_rejects": int(np.sum(genuine <= 0.2)),
        **mistakes,
        "groups": [group_facts(seed, number) for number in range(groups)],
        "disparity": {"0.01": {"max_min_fmr": 3.21, "max_mean_fmr": 1.54, "max_min_fnmr": 2.05}, "0.001": None},
    }


def group_facts(seed: int, number: int) -> dict[str, Any]:
    """A group of people, each somewhat worse than the one before."""
    worse = 0.01 * number + 0.001 * seed
    rate = {"fmr": 0.01 + worse, "fmr_low": 0.004, "fmr_high": 0.03 + worse}
    rate |= {"fnmr": 0.03 + worse, "fnmr_low": 0.02, "fnmr_high": 0.06 + worse}
    return {
        "group": f"group {chr(65 + number)}",
        "pairs": 800,
        "genuine": 400,
        "impostor": 400,
        "accuracy": 0.97 - worse,
        "accuracy_low": 0.95 - worse,
        "accuracy_high": 0.98 - worse,
        "rates": {"0.01": rate},
    }


def identification_facts(seed: int, *, closed: bool = False) -> dict[str, Any]:
    """Facts of a gallery of 500 people, 1,500 probes of them and, unless it is a closed set, 1,200 of strangers."""
    rng = np.random.default_rng(seed)
    cmc = np.minimum(1, 0.88 + 0.01 * seed + 0.04 * np.log1p(np.arange(20)) / 2)
    miss = {
        "probe": "probes/Ann/3.jpg",
        "picture": 3,
        "found": "Bea",
        "found_picture": 20,
        "truth": "Ann",
        "truth_picture": 7,
        "rank": 12,
        "similarity": 0.61,
    }
    alarm = {"probe": "strangers/9.jpg", "picture": 9, "found": "Cleo", "found_picture": 31, "similarity": 0.58}
    alarm |= {"truth": None, "truth_picture": None, "rank": None}
    ranks = {str(rank): float(cmc[rank - 1]) for rank in (1, 5, 10, 20)}
    facts = {
        "gallery_subjects": 500,
        "gallery_images": 1480,
        "distractors": 153428 if closed else 0,
        "mated_probes": 1500,
        "nonmated_probes": 0 if closed else 1200,
        "ranks": ranks,
        "rank_intervals": {rank: [share - 0.015, min(1.0, share + 0.012)] for rank, share in ranks.items()},
        "cmc": cmc,
        "mean_average_precision": 0.81 + 0.01 * seed,
        "xnorm": 19.5 + seed,
        "open_set": [],
        "misses": [miss | {"similarity": 0.61 - 0.01 * place, "picture": 3 + place} for place in range(6)],
        "false_alarms": [],
    }
    if closed:
        return facts
    genuine, impostor = rng.normal(0.55 + 0.01 * seed, 0.14, 1500), rng.normal(0.2, 0.08, 1200)
    figures = error_figures(genuine, impostor, (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4), ("fpir", "dir"))
    for point in figures["operating_points"]:
        point["flag"] = point["flag"] and point["flag"].replace("impostors", "nonmated")
        point["threshold"] = None if point["threshold"] is None else 1 - point["threshold"] / 2
    roc = figures["roc"]
    thresholds = [None if distance is None else 1 - distance / 2 for distance in roc["distance"]]
    curve = {"fpir": roc["far"], "dir": roc["tar"], "threshold": thresholds}
    return facts | {"open_set": figures["operating_points"], "curve": curve, "false_alarms": [alarm] * 6}


def templates_facts(seed: int) -> dict[str, Any]:
    """Facts of a small IJB: 2,000 genuine and 200,000 impostor pairs of templates, and its 1:N part."""
    facts = error_figures(*scores(seed, 2000, 200000, 0.5 + 0.01 * seed), (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6))
    return facts | {
        "images": 21000,
        "templates": 1845,
        "subjects": 420,
        "tar_at_nearest_far": {"0.001": 0.971 + 0.001 * seed, "1e-05": None},
        "failures": {"count": 2, "first": ["loose_crop/17.jpg: truncated", "loose_crop/99.jpg: missing"]},
        "identification": identification_facts(seed),
    }


def all_to_all_facts(seed: int) -> dict[str, Any]:
    """Facts of 100,000 pictures' 5 billion pairs, as 200,000 of them tell."""
    fars = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
    facts = error_figures(*scores(seed, 2000, 200000, 0.55 + 0.01 * seed), (1e-3, 1e-4))
    impostor = 4_999_000_000
    for far in fars[2:]:
        tar = 0.8 + 0.02 * np.log10(far) + 0.005 * seed
        point = {"far": far, "tar": tar, "low": tar - 0.03, "high": tar + 0.03, "threshold": 1.2 + 0.02 * np.log10(far)}
        allowed = int(far * impostor + 1e-9)
        point |= {"allowed_false_accepts": allowed, "flag": None if allowed >= 10 else "few_impostors"}
        if not allowed:
            point |= {"tar": None, "low": None, "high": None, "threshold": None, "flag": "too_few_impostors"}
        facts["operating_points"].append(point)
    for point in facts["operating_points"][:2]:
        point |= {"flag": None, "allowed_false_accepts": int(point["far"] * impostor)}
    worst = [
        {"first": n, "second": n + 9, "first_name": f"id_{n}/0.jpg", "second_name": f"id_{n + 9}/1.jpg"}
        | {"similarity": 0.83 - 0.01 * n, "same": n % 2 == 1}
        for n in range(12)
    ]
    return facts | {"images": 100000, "identities": 8000, "genuine": 950000, "impostor": impostor, "worst": worst}


def comparisons(num_models: int) -> list[dict[str, Any]]:
    """Each two models in two figures; every second difference is chance."""
    found = []
    for first in range(num_models):
        for second in range(first + 1, num_models):
            chance = (first + second) % 2 == 0
            p = 0.41 if chance else 0.0004
            verdict = "may be chance" if chance else f"model {first} is worse"
            entry = {"first": first, "second": second, "p_value": p, "p_adjusted": min(1, 2 * p), "verdict": verdict}
            for metric, method in (
                ("accuracy", "McNemar exact and paired bootstrap"),
                ("tar@0.001", "paired bootstrap"),
            ):
                found.append(
                    entry | {"metric": metric, "difference": -0.0123, "low": -0.02, "high": -0.004, "method": method}
                )
    return found


def made_up(num_models: int, each: int = 1) -> list[Scored]:
    """Targets of all kinds, `each` of every kind, judged for that many models."""
    models = range(num_models)
    finding = {"name": "channel_order", "sentence": "the model separates better in BGR", "suggestion": "try --bgr."}
    kinds = {
        ("pairs", "lfw"): [Made(pairs_facts(seed)) for seed in models],
        ("pairs", "own <b>set</b>"): [
            Made(
                pairs_facts(seed, groups=0, few=True) | ({"diagnosis": [finding]} if not seed else {}), ("AUC is low",)
            )
            for seed in models
        ],
        ("templates", "ijbc"): [Made(templates_facts(seed)) for seed in models],
        ("identification", "doors"): [Made(identification_facts(seed)) for seed in models],
        ("identification", "tinyface"): [Made(identification_facts(seed, closed=True)) for seed in models],
        ("all_to_all", "everyone"): [Made(all_to_all_facts(seed)) for seed in models],
        ("novel", "moon"): [Made({"phase": "full", "light": {"lux": 0.3}, "days": list(range(28))}) for _ in models],
    }
    return [
        Scored(MadeTarget(kind, name if not number else f"{name}-{number}", comparisons(num_models)), tuple(outcomes))
        for number in range(each)
        for (kind, name), outcomes in kinds.items()
    ]
