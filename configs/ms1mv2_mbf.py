"""MobileFaceNet on MS1MV2 with ArcFace: twice the epochs of the larger networks.

Paper      ArcFace: Additive Angular Margin Loss for Deep Face Recognition (arXiv:1801.07698)
           MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (arXiv:1804.07573)
Command    torchrun --nproc_per_node=8 launch/train.py configs/ms1mv2_mbf.py
Expected   IJB-C 93.61 at 1e-4, 90.28 at 1e-5; MFR-ALL 62.07
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import MS1MV2

config = edict(MS1MV2)
config.network = "mbf"
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 40
