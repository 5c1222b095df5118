"""What edits are measured by, through networks whose numbers are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from generation.metrics import psnr_db
from generation.quality.distances import frechet_distance, inception_score, kernel_distance
from generation.quality.inception import InceptionEyes
from generation.quality.lpips import open_lpips
from generation.stargan import measures
from generation.stargan.measures import (
    Measure,
    Seen,
    Shown,
    few_lines,
    identity_measures,
    inception_measures,
    likeness_measures,
    missing_lines,
    picture_measures,
)
from recognition.errors import InputError
from tests.generation.quality.drawn_weights import drawn_pixels
from tests.generation.stargan.drawn_networks import write_alexnet, write_inception


def pictures(count, seed, side=32):
    return drawn_pixels(side, count, seed) / 255


SHOWN = Shown(pictures(4, 1), pictures(4, 2), pictures(4, 3), pictures(6, 4))


def embed(img01_BCHW):
    """Six numbers of a picture: mean and deviation of each colour."""
    return torch.cat([img01_BCHW.mean((2, 3)), img01_BCHW.std((2, 3))], 1)


def test_face_fid_and_identity():
    face_fid, identity = identity_measures(embed, "six numbers")
    before, after, real = (F.normalize(embed(each)).numpy() for each in (SHOWN.before, SHOWN.after, SHOWN.real))
    assert face_fid.value(SHOWN) == pytest.approx(frechet_distance(real, after))
    assert identity.value(SHOWN) == pytest.approx((before * after).sum(1).mean())
    assert face_fid.by == identity.by == "six numbers"


def test_face_fid_rises_with_blur_and_with_noise():
    """Of pictures that are smooth and large, as faces are, spoilt more and more."""
    generator = torch.Generator().manual_seed(0)
    real = F.interpolate(torch.rand(200, 3, 6, 6, generator=generator), (48, 48), mode="bicubic").clamp(0, 1)
    face_fid = identity_measures(lambda x: F.adaptive_avg_pool2d(x.diff(dim=3).abs(), 4).flatten(1), "edges")[0]

    def of(spoilt):
        return face_fid.value(Shown(real, spoilt, real, real))

    noise = torch.randn(real.shape, generator=generator)
    noisy = [of(real + strength * noise) for strength in (0, 0.02, 0.08, 0.3)]
    blurred = [of(F.avg_pool2d(real, width, 1, width // 2, count_include_pad=False)) for width in (1, 5, 9, 15)]
    for values in (noisy, blurred):
        assert values[0] == pytest.approx(0, abs=1e-9)
        assert values == sorted(values)
        assert len({round(value, 9) for value in values}) == 4


def test_fid_kid_and_score_are_those_of_what_inception_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(measures.inception, "SIDE", 75)  # the least, for speed
    path = write_inception(tmp_path / "inception.pth")
    eyes = InceptionEyes(path)
    after, real = (eyes(each).numpy() for each in (SHOWN.after, SHOWN.real))
    counts = []
    monkeypatch.setattr(
        measures.inception.InceptionV3,
        "forward",
        lambda self, x_BCHW, forward=measures.inception.InceptionV3.forward: (
            counts.append(len(x_BCHW)) or forward(self, x_BCHW)
        ),
    )
    found = {measure.key: measure.value(SHOWN) for measure in inception_measures(path)}
    assert found["fid"] == pytest.approx(frechet_distance(real[:, :2048], after[:, :2048]), rel=1e-6)
    assert found["kid"] == pytest.approx(kernel_distance(real[:, :2048], after[:, :2048]), rel=1e-6)
    assert found["inception_score"] == pytest.approx(inception_score(after[:, 2048:]), rel=1e-6)
    assert sorted(counts) == [4, 6]  # each set is looked at once, for three figures
    assert all("of other weights" in measure.by for measure in inception_measures(path))


def test_lpips_is_between_a_picture_and_its_edit(tmp_path):
    path = write_alexnet(tmp_path / "alexnet.pth")
    (measure,) = likeness_measures(path, 32)
    network, _ = open_lpips(path)
    assert measure.value(SHOWN) == pytest.approx(network(SHOWN.before, SHOWN.after).mean().item())
    assert "AlexNet" in measure.by
    with pytest.raises(InputError, match="32 pixels or more, not 16"):
        likeness_measures(path, 16)


def test_change_and_what_comes_back():
    change, back = (measure.value(SHOWN) for measure in picture_measures())
    assert change == pytest.approx(np.abs(SHOWN.before.numpy() - SHOWN.after.numpy()).mean(), rel=1e-5)
    assert back == pytest.approx(psnr_db(SHOWN.back, SHOWN.before).mean().item())


def test_without_networks_nothing_is_made_up():
    found = [*inception_measures(None), *likeness_measures(None, 16), *identity_measures(None, None)]
    assert [measure.key for measure in found] == ["fid", "kid", "inception_score", "lpips", "face_fid", "identity_cos"]
    assert {measure.value(SHOWN) for measure in found} == {None}
    lines = missing_lines(found)
    assert "FID, KID, IS: n/a, needs --inception pt_inception-2015-12-05-6726825d.pth, from https://" in lines[0]
    assert "LPIPS to the untouched: n/a, needs --lpips alexnet-owt-7be5be79.pth" in lines[1]
    assert "--recogniser RUN" in lines[2]


def test_a_distance_between_sets_needs_two_real_pictures():
    one = Shown(SHOWN.before, SHOWN.after, SHOWN.back, SHOWN.real[:1])
    face_fid, identity = identity_measures(embed, "six numbers")
    assert face_fid.value(one) is None
    assert identity.value(one) is not None


def test_vectors_are_remembered_by_the_tensor_and_not_for_ever():
    calls = []
    seen = Seen(lambda x: calls.append(len(x)) or x.flatten(1))
    sets = [pictures(count, count, 2) for count in (1, 2, 3, 4)]
    for count in (0, 1, 2, 0, 3, 0, 1):
        assert np.array_equal(seen(sets[count]), sets[count].flatten(1).numpy())
    assert calls == [1, 2, 3, 4, 2]
    seen(sets[0].clone())
    assert calls[-1] == 1


@pytest.mark.parametrize(("real", "told"), [(2047, 1), (2048, 0), (None, 0)])
def test_fid_of_few_pictures_is_told(real, told):
    value = None if real is None else 3.0
    rows = [{"pictures": 5000, "real": real or 7, "values": {"fid": value}}]
    assert len(few_lines(rows)) == told
    if told:
        assert "FID is of sets of 2,047 pictures and more; of fewer than 2,048" in few_lines(rows)[0]


def test_a_measure_without_a_network_is_told_as_such():
    assert Measure("a", "A", why="needs something").facts() == {"title": "A", "by": None, "why": "needs something"}
