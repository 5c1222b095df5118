"""IResNet-50 on MS1MV3 with UniFace: one learned threshold for all identities.

Paper      UniFace: Unified Cross-Entropy Loss for Deep Face Recognition (ICCV 2023), compared there with ArcFace
           (arXiv:1801.07698)
Command    torchrun --nproc_per_node=8 launch/train.py configs/ms1mv3_r50_uniface.py
Expected   no published figure with this recipe, which is that of ms1mv3_r50.py
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import MS1MV3

config = edict(MS1MV3)
config.network = "r50"
config.loss = "uniface"
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
