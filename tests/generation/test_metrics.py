"""Metrics of pictures against plain numpy and against what they must be."""

import numpy as np
import pytest
import torch

from generation.metrics import as_bytes, pose_error_deg, psnr_db, ssim


def pictures(count=3, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_psnr():
    made, target = pictures(seed=1), pictures(seed=2)
    wanted = [10 * np.log10(1 / np.mean((a.numpy() - b.numpy()) ** 2)) for a, b in zip(made.double(), target.double())]
    assert psnr_db(made, target).tolist() == pytest.approx(wanted, rel=1e-5)
    assert psnr_db(target, target + 0.1).tolist() == pytest.approx([20.0] * 3, rel=1e-4)
    assert psnr_db(made, made).tolist() == [100.0] * 3


def test_ssim():
    pytest.importorskip("torchmetrics")
    from scipy.ndimage import gaussian_filter

    made, target = pictures(seed=1), pictures(seed=2) * 0.5 + pictures(seed=1) * 0.5
    values = []
    for a, b in zip(made.double().numpy(), target.double().numpy()):
        channels = []
        for x, y in zip(a, b):

            def mean(z):
                return gaussian_filter(z, 1.5, radius=5, mode="mirror")

            mx, my = mean(x), mean(y)
            vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
            c1, c2 = 0.01**2, 0.03**2
            channels.append(((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())
        values.append(np.mean(channels))
    assert ssim(made, target).tolist() == pytest.approx(values, abs=2e-4)
    assert ssim(made, made).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_pose_error():
    given = torch.tensor([[10.0, 20.0, 30.0], [0.0, 0.0, 0.0]])
    wanted = torch.tensor([[10.0, 20.0, 30.0], [0.0, 60.0, 0.0]])
    assert pose_error_deg(given, wanted).tolist() == pytest.approx([0.0, 60.0], abs=1e-4)


def test_as_bytes():
    given = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, float("nan")]).view(1, 1, 1, 6)
    assert (as_bytes(given) * 255).flatten().tolist() == pytest.approx([0, 0, 128, 255, 255, 0], abs=1e-4)
