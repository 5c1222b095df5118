"""Replicas that are not the same bits are found, whatever the type, shape and layout, and the odd rank is named."""

import numpy as np
import pytest
import torch

from recognition.backbones import build_backbone
from recognition.runtime import Runtime
from recognition.training.agreement import ReplicasDiffer, differences, digests, require_agreement
from tests.ranks import run_ranks

CPU = torch.device("cpu")
DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool),
]
SHAPES = [(), (1,), (7,), (1, 5), (5, 1), (3, 4), (6, 3, 3, 3), (2, 1, 2, 1, 3)]
ULP = 2.0**-23


def digest(*tensors):
    return digests(list(tensors), CPU)


def some(shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator).view(dtype)[..., 0]


def word_of(counter, key=0x0A9EE):
    """splitmix64 in Python's whole numbers."""
    mask = (1 << 64) - 1
    word = (counter * 0x9E3779B97F4A7C15 + key) & mask
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return word ^ (word >> 31)


def test_digests_are_the_hashed_sums_of_the_definition():
    tensors = [
        some((3, 4, 2), torch.float32),
        some((5,), torch.bfloat16),
        some((), torch.int64),
        some((2, 0), torch.int8),
    ]
    place, expected = 0, []
    for tensor in tensors:
        bits = tensor.reshape(tensor.shape if tensor.dim() else 1).contiguous()
        bits = bits.view({2: torch.int16, 4: torch.int32, 8: torch.int64, 1: torch.int8}[bits.element_size()]).numpy()
        others = tuple(range(1, bits.ndim))
        for sums in (bits.sum(others, dtype=bits.dtype).ravel(), bits.sum(0, dtype=bits.dtype).ravel()):
            total = 0
            for value in sums.tolist():
                total += word_of(value + word_of(place))
                place += 1
            expected.append(total & ((1 << 64) - 1))
    assert (digest(*tensors).view(-1).numpy().view(np.uint64) == np.array(expected, np.uint64)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_flip_of_any_bit_alters_both_digests(shape, dtype):
    before = some(shape, dtype) if dtype != torch.bool else some(shape, torch.uint8) > 99
    expected = digest(before)
    assert torch.equal(digest(before.clone()), expected)
    size = before.element_size()
    for place in range(before.numel()):
        for bit in range(8 * size) if dtype != torch.bool else (0,):
            raw = before.reshape(-1).clone().view(torch.uint8).numpy()
            raw[place * size + bit // 8] ^= 1 << bit % 8
            after = torch.from_numpy(raw).view(dtype).reshape(shape)
            assert (digest(after) != expected).all(), (place, bit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_two_changes_whose_sum_is_nothing_are_found(dtype):
    before = some((6, 5, 3), dtype)
    bits = before.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[before.element_size()])
    expected, highest = digest(before), 1 << 8 * before.element_size() - 1
    generator = torch.Generator().manual_seed(1)
    for change in (1, 1000, -highest):  # two flipped signs cancel in any sum
        for _ in range(100):
            first, second = torch.randperm(before.numel(), generator=generator)[:2].tolist()
            after = bits.clone().view(-1)
            after[first] += change
            after[second] -= change
            assert (digest(after.view(dtype).view(before.shape)) != expected).any(), (first, second, change)


def test_exchanged_elements_rows_and_columns_are_found():
    before = some((6, 5), torch.float32)
    orders = [torch.tensor([1, 0, 2, 3, 4, 5]), torch.tensor([5, 1, 2, 3, 4, 0])]
    changed = [before[order] for order in orders] + [before[:, order[:5].argsort()] for order in orders]
    vector = some((6,), torch.float32)
    for tensor, others in ((before, changed), (vector, [vector[order] for order in orders])):
        assert all((digest(other) != digest(tensor)).any() for other in others)


def test_exchanged_tensors_are_found():
    first, second = some((4, 3), torch.float32, 1), some((4, 3), torch.float32, 2)
    assert (digest(first, second) != digest(second, first)).all()


@pytest.mark.parametrize(
    "relaid",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
        lambda x: torch.stack([x, x], 4)[..., 1],
        lambda x: x.flip(0).flip(0),
    ],
    ids=["channels_last", "permuted", "every second", "flipped twice"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_the_layout_in_memory_does_not_matter(relaid, dtype):
    x = some((6, 5, 3, 2), dtype)
    assert torch.equal(digest(relaid(x)), digest(x))


def test_numbers_that_are_equal_but_not_the_same_bits_differ():
    assert (digest(torch.tensor([0.0])) != digest(torch.tensor([-0.0]))).any()
    nan = torch.tensor([np.nan])
    assert torch.equal(digest(nan), digest(nan.clone()))


def check(runtime, faults):
    """The error of this rank; `faults` maps ranks to (tensor, place, factor)."""
    torch.manual_seed(0)
    state = {key: value for key, value in build_backbone("mbf_tiny", 32).state_dict().items()}
    if runtime.rank in faults:
        name, place, factor = faults[runtime.rank]
        state[name].view(-1)[place] *= factor
    try:
        require_agreement(state, runtime, step=120)
    except ReplicasDiffer as error:
        return str(error)


def weights():
    return [key for key, value in build_backbone("mbf_tiny", 32).state_dict().items() if key.endswith("weight")]


def test_one_ulp_in_one_weight_of_one_rank_is_found_and_named_on_all_ranks():
    name = weights()[3]
    messages = run_ranks(check, 3, {1: (name, 5, 1 + ULP)})
    assert len(set(messages)) == 1
    assert messages[0].startswith("step 120: 1 of ")
    assert f"({name}): rank 1 not as the majority of 3 ranks. " in messages[0]
    assert "resume from the checkpoint before" in messages[0]
    assert "\n" not in messages[0]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_equal_replicas_pass(world):
    assert run_ranks(check, world, {}) == [None] * world


def test_two_ranks_have_no_majority():
    name = weights()[0]
    message = run_ranks(check, 2, {0: (name, 0, 1 + ULP)})[1]
    assert f"({name}): rank 0 against rank 1, and no majority says which is right" in message


def test_differences_are_those_of_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(200):
        world, tensors = rng.integers(2, 6), rng.integers(1, 7)
        values_WT = rng.choice([7, 7, 7, 7, 8, 9], size=(world, tensors))
        names = [f"t{number}." for number in range(tensors)]
        found = differences(names, [[[int(v), 0] for v in row] for row in values_WT])
        different = [name for name, column in zip(names, values_WT.T) if len(set(column)) > 1]
        if not different:
            assert found is None
            continue
        assert found.startswith(f"{len(different)} of {tensors} replicated tensors differ ({', '.join(different[:3])}")
        assert (f" and {len(different) - 3} more)" in found) == (len(different) > 3)
        counts = [max((column == value).sum() for value in column) for column in values_WT.T]
        if all(2 * count > world for count in counts):
            common = [np.bincount(column).argmax() for column in values_WT.T]
            odd = [str(rank) for rank in range(world) if (values_WT[rank] != common).any()]
            assert f"rank{'s' * (len(odd) > 1)} {', '.join(odd)} not as the majority of {world} ranks" in found
        else:
            assert "no majority" in found
            assert found.count("against") == len({tuple(row) for row in values_WT}) - 1


def test_one_rank_has_nothing_to_compare_with():
    require_agreement({"a": torch.ones(3)}, Runtime(), step=1)
