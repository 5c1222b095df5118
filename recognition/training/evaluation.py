"""Verification inside a run: every rank embeds its share, and the best model so far is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from recognition.collectives import all_reduce_mean
from recognition.config import TrainConfig
from recognition.data.sources import DRAWN, rec_folder
from recognition.data.synthetic import drawn_pairs
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsOutcome, PairsTarget
from recognition.targets.target import lines
from recognition.training.metrics import MetricsWriter
from recognition.verification.pairs import Pairs, open_pair_file
from recognition.verification.protocol import require_scorable


def open_targets(cfg: TrainConfig, runtime: Runtime) -> dict[str, PairsTarget]:
    """The verification sets that the config names, loaded; InputError naming the file when one is missing."""
    folder = Path(cfg.val_dir) if cfg.val_dir else rec_folder(cfg.rec)
    targets = {}
    for name in cfg.val_targets:
        if name in DRAWN:
            kind = DRAWN[name]
            renderer = kind.renderer_of(cfg.image_size)
            images, issame = drawn_pairs(renderer, kind.num_pairs, seed=cfg.seed, is_watched=runtime.is_main)
            targets[name] = PairsTarget(name, Pairs(images, issame))
            continue
        path = folder / f"{name}.bin"
        if not path.is_file():
            raise InputError(
                f"verification set {path} does not exist; put it there, name its folder with val_dir=, give "
                f"{' or '.join(DRAWN)}, which are drawn, or pass val_targets= for none"
            )
        pairs = open_pair_file(path)
        targets[name] = PairsTarget(name, pairs)
        height, width = pairs.size
        if (height, width) != (cfg.image_size, cfg.image_size):
            raise InputError(
                f"{path} has pictures of {width}x{height} pixels, but the run takes {cfg.image_size}x{cfg.image_size}; "
                f"make the pairs again at that size, or set image_size"
            )
        try:
            require_scorable(pairs.issame)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        decode_once(name, pairs, runtime)
    return targets


def decode_once(name: str, pairs: Pairs, runtime: Runtime) -> None:
    """InputError for a damaged picture, before the run begins and not hours later; each rank looks at its share."""
    own = range(runtime.rank, len(pairs.images), runtime.world)
    hidden = None if runtime.is_main else True  # None: hidden unless a terminal watches
    done = map_in_order(pairs.images.__getitem__, own)
    for _ in tqdm(done, f"looking at {name}", len(own), delay=2, leave=False, disable=hidden):
        pass
    # Ranks may take longer over their shares than a collective waits.
    runtime.wait_for_all(f"a look at {name}")


@contextmanager
def averaged_statistics(model: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Let BatchNorm use the mean of all ranks' running statistics inside the block, and each rank's own again after it.

    Ranks see different images, so their statistics differ; an evaluation that all ranks share needs one model.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if runtime.world > 1 else []
    own = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.running_mean.copy_(all_reduce_mean(norm.running_mean, runtime, what="BatchNorm statistics"))
        norm.running_var.copy_(all_reduce_mean(norm.running_var, runtime, what="BatchNorm statistics"))
    try:
        yield
    finally:
        for norm, (mean, var) in zip(norms, own):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)


Scores = dict[str, PairsOutcome]


class Evaluation:
    """Verifies a model on the run's targets and remembers the best mean accuracy."""

    def __init__(
        self,
        targets: dict[str, PairsTarget],
        *,
        cfg: TrainConfig,
        runtime: Runtime,
        metrics: MetricsWriter,
        best: float | None = None,
    ) -> None:
        self.targets, self.cfg, self.runtime, self.metrics = targets, cfg, runtime, metrics
        self.best = best

    def __call__(self, model: nn.Module, step: int) -> tuple[Scores, bool]:
        """Scores by target (equal on all ranks) and whether their mean accuracy is the best so far."""
        scores: Scores = {}
        for name, target in self.targets.items():
            score = target.score(model, runtime=self.runtime, batch_size=self.cfg.val_batch_size)
            scores[name] = score
            self.metrics.write(
                "verification",
                step,
                target=name,
                accuracy=score.result.accuracy,
                accuracy_std=score.result.accuracy_std,
                auc=score.result.auc,
                eer=score.result.eer,
                xnorm=score.xnorm,
                tar_at_far={f"{far:g}": tar for far, tar in score.result.tar_at_far.items()},
            )
            if self.runtime.is_main:
                for line in lines(name, score):
                    LOG.info("step %d  %s", step, line)
        if not scores:
            return scores, False
        mean = sum(score.result.accuracy for score in scores.values()) / len(scores)
        is_best = self.best is None or mean > self.best
        if is_best:
            self.best = mean
        return scores, is_best
