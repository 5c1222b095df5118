"""What the planner recommends fits, what it does not recommend would not, and its options really help."""

from dataclasses import replace

import pytest

from recognition.errors import InputError
from recognition.planning.advice import RATES, advise, largest_batch, plan
from recognition.planning.machines import find_machine, link_bandwidth, machine_names
from recognition.planning.setting import Setting

SMALL = {"network": "r_tiny", "batch": 16}


def test_the_largest_batch_is_the_largest():
    """Interpolated between traces, and right within a step when the batch itself is traced."""
    machine = find_machine("t4", memory_gb=3)
    best = largest_batch(Setting(identities=1000, **SMALL), machine, link="pcie", limit=4096)
    assert best.setting.batch % 8 == 0
    assert 64 < best.setting.batch < 4096
    assert not plan(replace(best.setting, batch=best.setting.batch - 8), machine, link="pcie").short_bytes
    assert plan(replace(best.setting, batch=best.setting.batch + 16), machine, link="pcie").short_bytes


def test_what_fits_is_recommended_as_it_is_but_for_the_batch():
    machine = find_machine("h200")
    advice = advise(plan(Setting(identities=100_000, ranks=2, **SMALL), machine, link="nvlink"))
    assert not advice.options
    best = advice.recommended
    assert (best.setting.batch, best.setting.centers, best.setting.mode) == (512, "memory", "keep")
    assert best.short_bytes == 0


def test_a_table_larger_than_the_gpu_goes_to_the_host_when_classes_are_sampled():
    machine = find_machine("l4")
    wish = plan(Setting(identities=20_000_000, sample_rate=0.02, **SMALL), machine, link="pcie")
    assert wish.short_bytes > 20_000_000 * 4096 - machine.memory_bytes
    advice = advise(wish)
    assert advice.recommended.setting.centers == "host"
    assert advice.recommended.memory.far.host_bytes == (20_000_001) * (4096 + 4)
    assert "centers=host" in " ".join(advice.options)
    assert "sample_rate" not in " ".join(advice.options)
    assert any("4 ranks" in option for option in advice.options)


def test_every_option_helps():
    machine = find_machine("l4", memory_gb=4.6)
    wish = plan(Setting(identities=100_000, network="r_tiny", batch=512, mode="keep"), machine, link="pcie")
    assert wish.short_bytes
    options = " / ".join(advise(wish).options)
    changes = {
        "head_mode=recompute": {"mode": "recompute"},
        "gradient_checkpointing=True": {"gradient_checkpointing": True},
        "precision=bf16": {"precision": "bf16"},
        "sample_rate=0.3": {"sample_rate": 0.3},
        "sample_rate=0.1": {"sample_rate": 0.1},
    }
    helping = {
        text
        for text, change in changes.items()
        if not plan(replace(wish.setting, **change), machine, link="pcie").short_bytes
    }
    assert {text for text in changes if text in options.replace("with sample_rate=0.1", "")} == helping
    assert "precision=bf16" in helping


def test_the_rate_falls_until_the_head_is_a_third():
    machine = find_machine("h200")
    few = advise(plan(Setting(identities=10_000, **SMALL), machine, link="nvlink"), rates=RATES)
    many = advise(plan(Setting(identities=20_000_000, **SMALL), machine, link="nvlink"), rates=RATES)
    assert few.recommended.setting.sample_rate == 1
    assert many.recommended.setting.sample_rate == RATES[-1]


def test_nothing_fits():
    machine = find_machine("h200", memory_gb=1)
    advice = advise(plan(Setting(identities=1000, **SMALL), machine, link="nvlink"))
    assert advice.recommended is None
    assert advice.options == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"network": "r5O"}, ["r5O", "r50"]),
        ({"ranks": 2000}, ["ranks=2000", "identities=1000"]),
        ({"sample_rate": 0.0}, ["sample_rate=0.0", "(0, 1]"]),
        ({"sample_rate": 1.5}, ["sample_rate=1.5", "(0, 1]"]),
        ({"sample_rate": float("nan")}, ["sample_rate=nan"]),
        ({"identities": 0}, ["identities=0", "at least 1"]),
        ({"batch": -1}, ["batch=-1"]),
        ({"centers": "disk"}, ["centers='disk'", "mmap"]),
    ],
)
def test_bad_settings(keys, words):
    with pytest.raises(InputError) as caught:
        Setting(**{"identities": 1000, **keys})
    assert [word for word in words if word not in str(caught.value)] == []


def test_bad_machines():
    with pytest.raises(InputError, match="did you mean h200.*h100.*cpu"):
        find_machine("h20")
    with pytest.raises(InputError, match="memory of 0"):
        find_machine("h200", memory_gb=0)
    with pytest.raises(InputError, match="no NVLink"):
        link_bandwidth(find_machine("l4"), "nvlink")
    with pytest.raises(InputError, match="below 1"):
        plan(Setting(identities=1000, centers="host", **SMALL), find_machine("l4"), link="pcie")


def test_every_machine_is_complete():
    for name in machine_names():
        machine = find_machine(name.upper())
        assert min(machine.memory_bytes, machine.bandwidth, machine.fp32, machine.half) > 0
        assert machine.flops("fp32") <= machine.flops("fp16")
