"""IResNet-50 on MS1MV2 with ArcFace.

Paper      ArcFace: Additive Angular Margin Loss for Deep Face Recognition (arXiv:1801.07698)
Command    torchrun --nproc_per_node=8 launch/train.py configs/ms1mv2_r50.py
Expected   IJB-C 95.97 at 1e-4, 94.07 at 1e-5; MFR-ALL 75.13
Cost       4,824 images/s on 8x V100-32GB (arcface_torch, 2021, 125,000 identities);
           derived: 6.7 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import MS1MV2

config = edict(MS1MV2)
config.network = "r50"
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
