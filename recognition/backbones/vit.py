"""Vision transformer for faces: Dosovitskiy et al. (arXiv:2010.11929) without class token, masked while training.

State-dict keys and their order are those of arcface_torch. Shapes: B images, L patches, D width of a token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recognition.backbones.precision import full_precision
from recognition.backbones.recompute import run_checkpointed

PATCH_SIZE = 9  # pixels; 112 px give 12 x 12 patches, the last 4 px of each side are not seen


class Attention(nn.Module):
    """Multi-head self-attention (arXiv:1706.03762, equation 1) whose scores and softmax are float32."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        q, k, v = self.qkv(x_BLD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        with full_precision(x_BLD.device):
            out = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
        return self.proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with ReLU6 between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        return self.fc2(F.relu6(self.fc1(x_BLD)))


class DropPath(nn.Module):
    """Stochastic depth: while training, drop the branch of a sample with probability `rate`, scale the others up.

    Huang et al. (arXiv:1603.09382), equation 2, with the scaling at training time instead of test time.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        if not self.training or self.rate == 0:
            return x_BLD
        keep = 1 - self.rate
        kept_B11 = torch.rand(x_BLD.shape[0], 1, 1, device=x_BLD.device) < keep
        return x_BLD * (kept_B11 / keep).to(x_BLD.dtype)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each behind stochastic depth and added to its input."""

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.drop_path = DropPath(drop_path)
        self.mlp = Mlp(dim)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        x_BLD = x_BLD + self.drop_path(self.attn(self.norm1(x_BLD)))
        return x_BLD + self.drop_path(self.mlp(self.norm2(x_BLD)))


class PatchEmbedding(nn.Module):
    """Non-overlapping patches of PATCH_SIZE pixels, each mapped linearly to a token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, L, D)."""
        return self.proj(x_BCHW).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Face images (B, 3, S, S) to float32 embeddings (B, E); S = `image_size`.

    `drop_path` is the rate of the last block, growing linearly from 0 at the first; `mask_ratio` is the share of
    patches that training hides from the blocks and hands to the head as `mask_token`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        *,
        heads: int = 8,
        drop_path: float = 0.0,
        mask_ratio: float = 0.0,
        embedding_size: int = 512,
        dropout: float = 0.0,
        image_size: int = 112,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.mask_ratio = mask_ratio
        self.gradient_checkpointing = gradient_checkpointing
        num_patches = (image_size // PATCH_SIZE) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, num_patches, dim))
        # Kept for its key, but out of training where nothing is masked: DDP waits for every trainable gradient.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim), requires_grad=mask_ratio > 0)
        self.patch_embed = PatchEmbedding(dim)
        self.blocks = nn.ModuleList(Block(dim, heads, drop_path * i / max(1, depth - 1)) for i in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Sequential(
            nn.Linear(num_patches * dim, dim, bias=False),
            nn.BatchNorm1d(dim, eps=2e-5),
            nn.Linear(dim, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size, eps=2e-5),
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Embed images in [-1, 1]; blocks follow the caller's autocast, the last norm and `feature` are float32."""
        x_BLD = self.patch_embed(x_BCHW) + self.pos_embed
        masked = self.training and self.mask_ratio > 0
        if masked:
            num_patches = x_BLD.shape[1]
            kept_BK = choose_patches(x_BLD, self.mask_ratio)
            x_BLD = x_BLD.gather(1, kept_BK.unsqueeze(-1).expand(-1, -1, x_BLD.shape[2]))
        if self.gradient_checkpointing and self.training:
            x_BLD = run_checkpointed(self.blocks, x_BLD, len(self.blocks))
        else:
            for block in self.blocks:
                x_BLD = block(x_BLD)
        with full_precision(x_BLD.device):
            x_BLD = self.norm(x_BLD.float())
            if masked:
                x_BLD = restore_patches(x_BLD, kept_BK, self.mask_token, num_patches)
            return self.feature(self.dropout(x_BLD.flatten(1)))


def choose_patches(x_BLD: Tensor, mask_ratio: float) -> Tensor:
    """Indices (B, K) of the K = floor(L * (1 - mask_ratio)) patches that each sample keeps, drawn uniformly."""
    num_samples, num_patches = x_BLD.shape[:2]
    noise_BL = torch.rand(num_samples, num_patches, device=x_BLD.device)
    return noise_BL.argsort(dim=1)[:, : int(num_patches * (1 - mask_ratio))]


def restore_patches(x_BKD: Tensor, kept_BK: Tensor, mask_token_11D: Tensor, num_patches: int) -> Tensor:
    """Put kept tokens (B, K, D) back at their places among `num_patches`; the others become the mask token."""
    num_samples, _, dim = x_BKD.shape
    everywhere_BLD = mask_token_11D.expand(num_samples, num_patches, dim)
    return everywhere_BLD.scatter(1, kept_BK.unsqueeze(-1).expand(-1, -1, dim), x_BKD)
