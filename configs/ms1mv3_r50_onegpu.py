"""IResNet-50 on MS1MV3 with ArcFace on one GPU: an eighth of the batch, a fifth of the rate.

Paper      ArcFace: Additive Angular Margin Loss for Deep Face Recognition (arXiv:1801.07698)
Command    python launch/train.py configs/ms1mv3_r50_onegpu.py
Expected   no published figure for one GPU; see ms1mv3_r50.py for eight
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import MS1MV3

config = edict(MS1MV3)
config.network = "r50"
config.fp16 = True
config.weight_decay = 5e-4
config.lr = 0.02
config.num_epoch = 20
