"""What several experiments share beyond their data set; each experiment adds what is its own.

Start an experiment from one, as from a data set: `config = edict(WF42M_PFC03_VIT)`.
"""

from easydict import EasyDict as edict

from configs.datasets import WF42M

# CosFace (arXiv:1801.09414) with a share of the class centres a step (Partial FC, arXiv:2203.15565).
WF42M_PFC02 = edict(WF42M, margin_list=(1.0, 0.0, 0.4), sample_rate=0.2, fp16=True, weight_decay=5e-4, num_epoch=20)
_WF42M_PFC03 = edict(WF42M, margin_list=(1.0, 0.0, 0.4), sample_rate=0.3, fp16=True)

# For IResNets, at 4096 images a step: 32 GPUs.
WF42M_PFC03_IRESNET = edict(_WF42M_PFC03, weight_decay=5e-4, lr=0.4, num_epoch=20, warmup_epoch=2)

# For ViTs, at 24,576 images a step on 64 GPUs; fewer GPUs have a batch of their own.
WF42M_PFC03_VIT = edict(
    _WF42M_PFC03,
    optimizer="adamw",
    batch_size=384,
    lr=0.001,
    weight_decay=0.1,
    num_epoch=40,
    warmup_epoch=4,
    val_targets=[],
)
