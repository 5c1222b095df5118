"""Every model on every target: what is looked at before the work, what is told, and by whom."""

import numpy as np
import pytest
import torch

from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.opening import open_targets
from recognition.targets.scoring import score_all
from recognition.targets.target import Options
from tests.ranks import run_ranks
from tests.verification.synthetic import pair_file


def model_of(cells, size=None, seen=None):
    def embed(x_BCHW):
        if seen is not None:
            seen.append(len(x_BCHW))
        return torch.nn.functional.avg_pool2d(x_BCHW, cells).flatten(1) + 0.02

    return Embedder(embed, size, {"file": f"{cells}.onnx"})


@pytest.fixture
def paths(tmp_path):
    return [str(pair_file(tmp_path / f"{size}.bin", num_pairs=20, size=size)) for size in (16, 24)]


def test_sizes_are_compared_before_any_picture_is_embedded(paths):
    seen = []
    models = [model_of(4, None, seen), model_of(4, (16, 16), seen)]
    with pytest.raises(InputError, match="24 has pictures of 24x24 pixels, but 4.onnx takes 16x16"):
        score_all(open_targets(paths, Options(replicates=0)), models, ["a", "b"], runtime=Runtime())
    assert seen == []


def test_each_model_has_its_outcome_on_each_target_and_what_differs_is_told(paths, capfd):
    targets, models = open_targets(paths, Options(replicates=20)), [model_of(4), model_of(8)]
    scored = score_all(targets, models, ["fine", "coarse"], runtime=Runtime(), batch_size=8)
    assert [entry.target.name for entry in scored] == ["16", "24"]
    for entry in scored:
        for model, outcome in zip(models, entry.outcomes):
            alone = entry.target.score(model, runtime=Runtime(), batch_size=8)
            np.testing.assert_array_equal(outcome.result.distances_P, alone.result.distances_P)
    lines = [line for line in capfd.readouterr().out.splitlines() if ": warning: " not in line]
    entries = [targets[place].compare(scored[place].outcomes) for place in (0, 1)]
    assert [line.partition(": ")[0] for line in lines] == [
        f"{name}, {who}"
        for name, compared in zip(("16", "24"), entries)
        for who in ("fine", "coarse", *["fine less coarse"] * len(compared))
    ]
    entry = entries[0][1]
    assert (entry["metric"], entry["method"]) == ("auc", "paired bootstrap")
    assert lines[3] == (
        f"16, fine less coarse: auc {entry['difference']:+.4f} ({entry['low']:+.4f} to {entry['high']:+.4f}), "
        f"p {entry['p_adjusted']:.2g}: {entry['verdict']}"
    )


def told_on_rank(runtime, path):
    told = []
    patch = pytest.MonkeyPatch()
    patch.setattr("builtins.print", lambda *words, **_: told.append(words))
    try:
        score_all(open_targets([path], Options(replicates=9)), [model_of(4), model_of(8)], ["a", "b"], runtime=runtime)
    finally:
        patch.undo()
    return len(told)


def test_one_rank_talks(paths):
    first, second = run_ranks(told_on_rank, 2, paths[0])
    assert (first > 2, second) == (True, 0)


def test_one_model_is_called_by_nothing_but_the_target(paths, capfd):
    score_all(open_targets(paths[:1], Options(replicates=0)), [model_of(4)], ["fine"], runtime=Runtime())
    assert capfd.readouterr().out.startswith("16: accuracy ")
