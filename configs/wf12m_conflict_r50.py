"""IResNet-50 on WebFace12M-Conflict: what labels that split one person do to plain CosFace.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf12m_conflict_r50.py
Expected   IJB-C 95.30 at 1e-4, 91.56 at 1e-5; MFR-ALL 79.93
Cost       3,449 images/s on 8x V100-32GB (arcface_torch, 2021, 1M identities);
           derived: 20.5 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF12M_CONFLICT

config = edict(WF12M_CONFLICT)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
config.warmup_epoch = 2
