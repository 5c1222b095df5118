"""Random numbers against splitmix64 in Python's integers, and against what chance would do."""

import numpy as np
import torch

from recognition.data.augment.draws import Draws
from recognition.permutation import permutation_keys

U64 = (1 << 64) - 1


def word(counter, key):
    z = (counter * 0x9E3779B97F4A7C15 + key) & U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
    return z ^ (z >> 31)


def start(sample, epoch, seed, purpose):
    key = int(permutation_keys(seed, int.from_bytes(purpose.encode(), "big"))[0])
    return word(word(epoch, key) ^ sample, key), key


def test_numbers_are_splitmix64_from_a_hash_of_the_key():
    ids, epochs = [0, 1, 42_000_000, 7], [0, 0, 3, 19]
    draws = Draws.of(torch.tensor(ids), torch.tensor(epochs), seed=2048, purpose="erase")
    first, second = draws.between(0, 1).tolist(), draws.between(-3, 5).tolist()
    noise = draws.noise(21, torch.device("cpu"))
    later = draws.between(0, 1).tolist()
    for place, (sample, epoch) in enumerate(zip(ids, epochs)):
        begin, key = start(sample, epoch, 2048, "erase")
        shares = [(word(begin + n, key) >> 11) / 2**53 for n in range(7)]
        assert first[place] == shares[0]
        assert second[place] == shares[1] * 8 - 3
        expected = b"".join(word(begin + n, key).to_bytes(8, "little") for n in (2, 3, 4))[:21]
        assert bytes(noise[place].tolist()) == expected
        assert later[place] == shares[5]


def test_the_ids_given_are_left_as_they_are():
    ids, epochs = torch.arange(5), torch.arange(5)
    Draws.of(ids, epochs, seed=1, purpose="blur").between(0, 1)
    assert ids.tolist() == epochs.tolist() == [0, 1, 2, 3, 4]


def test_some_of_the_samples_go_on_with_their_own_streams():
    ids = torch.arange(50)
    whole, part = (Draws.of(ids, ids // 7, seed=1, purpose="blur") for _ in range(2))
    places = np.array([3, 17, 49])
    whole.between(0, 1), part.between(0, 1)
    few = part.only(places)
    for _ in range(2):
        assert torch.equal(few.between(0, 1), whole.between(0, 1)[places])
    assert torch.equal(few.noise(9, torch.device("cpu")), whole.noise(9, torch.device("cpu"))[places])
    assert part.taken == 1


def test_streams_of_seeds_epochs_purposes_and_places_are_uniform_and_unrelated():
    ids = torch.arange(20_000)
    columns = []
    for seed, epoch, purpose in ((0, 0, "blur"), (1, 0, "blur"), (0, 1, "blur"), (0, 0, "hsv")):
        draws = Draws.of(ids, torch.full_like(ids, epoch), seed=seed, purpose=purpose)
        columns += [draws.between(0, 1), draws.between(0, 1)]
    shares = torch.stack(columns).numpy()
    assert np.abs(shares.mean(1) - 0.5).max() < 4.5 / np.sqrt(12 * 20_000)
    histogram = np.stack([np.histogram(column, 16, (0, 1))[0] for column in shares])
    assert np.abs(histogram - 1250).max() < 4.5 * np.sqrt(1250)
    apart = np.corrcoef(np.concatenate([shares, shares[:, ::-1], np.roll(shares, 1, 1)])) - np.eye(24)
    assert np.abs(apart).max() < 4.5 / np.sqrt(20_000)


def test_noise_is_uniform():
    noise = Draws.of(torch.arange(40), torch.zeros(40).long(), seed=0, purpose="erase").noise(5000, torch.device("cpu"))
    counts = np.bincount(noise.flatten().numpy(), minlength=256)
    assert np.abs(counts - 781.25).max() < 5 * np.sqrt(781.25)
