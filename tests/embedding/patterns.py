"""Pictures of patterns in place of faces, and networks that can or cannot read them: illnesses made on purpose."""

import numpy as np
import torch
from torch import nn

from recognition.embedding.models import Embedder
from recognition.embedding.network import Network
from recognition.embedding.preprocess import OURS, apply

SIZE, CELLS = 28, 7


def pattern_pairs(pairs=400, *, channels=(0, 1, 2), low=0, high=255, inner=SIZE, noise=0.15, seed=0, symmetric=True):
    """Pictures (2 * pairs, SIZE, SIZE, 3) and flags: every second pair shows one pattern of CELLS x CELLS twice.

    The pattern is `symmetric` as faces are, lies in `channels` (noise in the others), between `low` and `high`, and
    takes up the central `inner` pixels (noise around them).
    """
    rng = np.random.default_rng(seed)
    issame = np.arange(pairs) % 2 == 0
    first = rng.random((pairs, CELLS, CELLS))
    second = np.where(issame[:, None, None], first, rng.random((pairs, CELLS, CELLS)))
    cells = np.stack([first, second], 1).reshape(2 * pairs, CELLS, CELLS)
    cells = (cells + cells[:, :, ::-1]) / 2 if symmetric else cells
    cells = cells + noise * rng.normal(size=cells.shape)
    pattern = np.kron(cells, np.ones((inner // CELLS, inner // CELLS)))
    images = rng.random((2 * pairs, CELLS, CELLS, 3))
    images = np.kron(images, np.ones((1, SIZE // CELLS, SIZE // CELLS, 1)))
    edge = (SIZE - inner) // 2
    for channel in channels:
        images[:, edge : edge + inner, edge : edge + inner, channel] = pattern
    return (low + (high - low) * images.clip(0, 1)).round().astype(np.uint8), issame


class Reader(nn.Module):
    """Means of the cells of one channel, minus what they are for grey, within what it takes for pixels."""

    def __init__(self, *, channel=1, lowest=-1.0, highest=1.0, grey=0.0):
        super().__init__()
        self.channel, self.lowest, self.highest, self.grey = channel, lowest, highest, grey

    def forward(self, x_BCHW):
        x = x_BCHW[:, self.channel : self.channel + 1].clamp(self.lowest, self.highest) - self.grey
        return nn.functional.adaptive_avg_pool2d(x, CELLS).flatten(1)


def fed(module, preprocess=OURS, **facts):
    """`module` as an Embedder that feeds it like this."""
    network = Network(module, None, {"file": "a", **facts}, module=module if isinstance(module, nn.Module) else None)
    facts = {"file": "a", "normalisation_from": "default"}
    return Embedder(lambda x: network.run(apply(preprocess, x)), None, facts, network, preprocess)


def settled(module, images, batch=16):
    """`module` with the running statistics of these pictures, in eval mode."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    x_BCHW = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    # A network's later norms see what the earlier ones, already settled, let through.
    module.eval()
    for norm in norms:
        seen = []
        handle = norm.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            module(torch.cat([x_BCHW, x_BCHW.flip(3)]))
        handle.remove()
        axes = [0, *range(2, seen[0].dim())]
        norm.running_mean.copy_(seen[0].mean(axes))
        norm.running_var.copy_(seen[0].var(axes, correction=0))
        norm.num_batches_tracked.fill_(1)
    return module
