"""IResNet-100 on MS1MV2 with ArcFace.

Paper      ArcFace: Additive Angular Margin Loss for Deep Face Recognition (arXiv:1801.07698)
Command    torchrun --nproc_per_node=8 launch/train.py configs/ms1mv2_r100.py
Expected   IJB-C 96.37 at 1e-4, 94.27 at 1e-5; MFR-ALL 78.12
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import MS1MV2

config = edict(MS1MV2)
config.network = "r100"
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
