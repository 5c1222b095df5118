"""What an epoch sees: each picture once, mirrored half of the time, with targets as the set has them."""

import numpy as np
import pytest
import torch
from PIL import Image

from generation.stargan.batches import AttributeBatches
from generation.stargan.config import StarGANConfig
from generation.stargan.pictures import open_pictures
from recognition.errors import InputError
from recognition.heads import NAMES as NAMES_OF_CLASSES
from recognition.runtime import Runtime
from tests.generation.stargan.small_gan import NAMES, labels, pixels, write_celeba


def batches(data, *, world=1, rank=0, **options):
    cfg = StarGANConfig(
        data_dir=data, selected_attrs=NAMES, **({"batch_size": 4, "num_workers": 2, "seed": 3} | options)
    )
    return AttributeBatches(open_pictures(data, None, NAMES, 16), cfg, Runtime(rank=rank, world=world))


def seen(picture_HWC):
    """The number of a picture of the set, and whether it is mirrored."""
    for index, values in enumerate(labels(40)):
        whole = pixels(values, index)
        for mirrored in (False, True):
            if (picture_HWC == (whole[:, ::-1] if mirrored else whole)).all():
                return index, mirrored
    raise AssertionError("a picture that is not in the set")


def test_each_picture_once_in_an_epoch_with_its_own_attributes(data):
    found, flips = [], []
    for batch in batches(data).epoch(0):
        for picture, values in zip(batch.images_BHWC.numpy(), batch.labels_BA):
            index, mirrored = seen(picture)
            assert values.tolist() == labels(40)[index].tolist()
            found.append(index)
            flips.append(mirrored)
    assert sorted(found) == list(range(40))
    assert 8 < sum(flips) < 32


def test_epochs_differ_and_come_again(data):
    first, again, other = (
        torch.cat([batch.images_BHWC for batch in batches(data).epoch(epoch)]) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    orders = [[seen(picture)[0] for picture in pictures.numpy()] for pictures in (first, other)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_targets_are_attributes_of_the_set_and_change(data):
    found = [batch for epoch in range(20) for batch in batches(data).epoch(epoch)]
    whole = torch.cat([batch.targets_BA for batch in found])
    kinds, counts = np.unique(whole.numpy(), axis=0, return_counts=True)
    assert kinds.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert (abs(counts / len(whole) - 0.25) < 0.06).all()
    same = torch.cat([(batch.targets_BA == batch.labels_BA).all(1) for batch in found])
    assert abs(same.float().mean() - 0.25) < 0.06  # other pictures' attributes, whatever those of this one are
    shares = torch.cat([batch.shares_B for batch in batches(data).epoch(0)])
    assert 0 <= shares.min() < 0.2
    assert 0.8 < shares.max() < 1


def test_an_epoch_gone_on_with(data):
    whole = list(batches(data).epoch(2))
    rest = list(batches(data).epoch(2, first_step=7))
    assert len(rest) == 3
    for ours, theirs in zip(rest, whole[7:]):
        for name in ("images_BHWC", "labels_BA", "targets_BA", "shares_B"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_ranks_share_the_pictures(data):
    parts = [list(batches(data, world=2, rank=rank).epoch(0)) for rank in range(2)]
    assert [len(part) for part in parts] == [5, 5]
    found = sorted(seen(picture)[0] for part in parts for batch in part for picture in batch.images_BHWC.numpy())
    assert found == list(range(40))
    assert not torch.equal(parts[0][0].shares_B, parts[1][0].shares_B)


def test_too_few_pictures(data):
    with pytest.raises(InputError, match=r"40 pictures to train on make no step of --batch_size 21 on 2 rank"):
        batches(data, world=2, batch_size=21)


def test_where_nothing_shall_change_goes_with_the_picture(tmp_path):
    """Masks whose left half is background and whose right half is hair: mirrored with the pictures."""
    data = write_celeba(tmp_path / "celeba")
    (tmp_path / "masks").mkdir()
    mask = np.full((16, 16), NAMES_OF_CLASSES.index("hair"), np.uint8)
    mask[:, :8] = NAMES_OF_CLASSES.index("background")
    for index in range(40):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index + 1:06}.png")
    cfg = StarGANConfig(data_dir=data, selected_attrs=NAMES, batch_size=4, num_workers=1)
    pictures = open_pictures(data, None, NAMES, 16, masks=tmp_path / "masks")
    for batch in AttributeBatches(pictures, cfg, Runtime()).epoch(0):
        for picture, keep in zip(batch.images_BHWC.numpy(), batch.keep_B1HW[:, 0].numpy()):
            is_background = mask == 0
            assert (keep == (is_background[:, ::-1] if seen(picture)[1] else is_background)).all()
