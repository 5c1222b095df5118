"""IResNet-50 on WebFace12M with 40 % of the labels wrong: what that does to plain CosFace.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf12m_flip_r50.py
Expected   IJB-C 88.35 at 1e-4, 80.78 at 1e-5; MFR-ALL 43.87
Cost       5,170 images/s on 8x A100-80G (arcface_torch, fp16, 618K identities);
           derived: 13.7 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF12M_FLIP40

config = edict(WF12M_FLIP40)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
config.warmup_epoch = 2
