"""arcface_torch's table for r50 on 8 V100 of 32 GB (docs/speed_benchmark.md): images/s and MB a GPU.

The table names neither batch nor precision: 128 images a GPU in fp16 is what its rows are consistent with. Its memory
leaves no room for a CUDA context: the smallest figure is that of the activations and the backbone's state alone.
"""

import itertools
from dataclasses import replace

import pytest

from recognition.planning.advice import plan, plan_peer
from recognition.planning.machines import MIB, find_machine
from recognition.planning.peers import PARTIAL_FC_2021
from recognition.planning.setting import Setting
from recognition.planning.speed import peer_speed_of, speed_of

DATA_PARALLEL = replace(PARTIAL_FC_2021, sharded=False)
V100 = find_machine("v100-32")

# identities, sample rate, head, images/s, MB; None: did not fit.
TABLE = [
    (125_000, 1.0, DATA_PARALLEL, 4681, 7358),
    (125_000, 1.0, PARTIAL_FC_2021, 4824, 5306),
    (125_000, 0.1, PARTIAL_FC_2021, 5004, 4868),
    (1_000_000, 1.0, DATA_PARALLEL, 2090, 23708),
    (1_000_000, 1.0, PARTIAL_FC_2021, 3449, 9966),
    (1_000_000, 0.1, PARTIAL_FC_2021, 4803, 5620),
    (5_500_000, 1.0, DATA_PARALLEL, None, None),
    (5_500_000, 1.0, PARTIAL_FC_2021, 1389, 32188),
    (5_500_000, 0.1, PARTIAL_FC_2021, 3975, 9854),
    (29_000_000, 1.0, DATA_PARALLEL, None, None),
    (29_000_000, 1.0, PARTIAL_FC_2021, None, None),
    (29_000_000, 0.1, PARTIAL_FC_2021, 1855, 32324),
]


def setting_for(identities, rate):
    return Setting(identities=identities, sample_rate=rate, network="r50", ranks=8, batch=128, precision="fp16")


def peer(identities, rate, head):
    planned = plan_peer(setting_for(identities, rate), V100, head, link="nvlink")
    return planned, peer_speed_of(planned.setting, planned.trace, V100, head, link="nvlink")


@pytest.mark.parametrize(("identities", "rate", "head", "images_per_s", "megabytes"), TABLE)
def test_memory_of_the_table(identities, rate, head, images_per_s, megabytes):
    planned, _ = peer(identities, rate, head)
    if megabytes is None:
        assert planned.memory.tensor_bytes > V100.memory_bytes
        return
    assert planned.memory.tensor_bytes < V100.memory_bytes
    # 26 bytes a logit were fitted to two of these; what lies beside them, up to 7 %, is cuDNN's choice of kernels.
    assert planned.memory.tensor_bytes / MIB == pytest.approx(megabytes, rel=0.08)


def test_speeds_of_the_table():
    """Within a third where classes are sharded. Data parallelism with a million classes is slower than estimated, as
    nothing says how its gradient of 2 GB travelled, and still the slowest of its row."""
    rows = [row for row in TABLE if row[3]]
    estimates = [peer(*row[:3])[1].images_per_s for row in rows]
    sharded = [(estimate, row[3]) for estimate, row in zip(estimates, rows) if row[2].sharded]
    for estimate, published in sharded:
        assert estimate == pytest.approx(published, rel=1 / 3)
    for (slow, published_slow), (fast, published_fast) in itertools.permutations(sharded, 2):
        if published_fast > 1.01 * published_slow:
            assert fast > slow
    assert estimates[0] < estimates[1] < estimates[2]
    assert estimates[3] < estimates[4] < estimates[5]


def test_the_streamed_head_needs_less_and_is_faster():
    for identities, rate, head, images_per_s, megabytes in TABLE:
        planned = plan(setting_for(identities, rate), V100, link="nvlink")
        theirs, their_speed = peer(identities, rate, head)
        assert planned.memory.tensor_bytes < theirs.memory.tensor_bytes
        speed = speed_of(planned.setting, planned.trace, V100, link="nvlink")
        assert speed.images_per_s > their_speed.images_per_s
        if identities >= 1_000_000 and megabytes:
            assert planned.memory.tensor_bytes / MIB < megabytes
            assert speed.images_per_s > images_per_s


def test_all_29_million_identities_fit_without_sampling():
    planned = plan(setting_for(29_000_000, 1.0), V100, link="nvlink")
    assert planned.short_bytes == 0
