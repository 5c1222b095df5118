"""MobileFaceNet on Glint360K with CosFace.

Paper      Partial FC: Training 10 Million Identities on a Single Machine (arXiv:2010.05222)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (arXiv:1804.07573)
Command    torchrun --nproc_per_node=8 launch/train.py configs/glint360k_mbf.py
Expected   IJB-C 95.04 at 1e-4, 92.62 at 1e-5; MFR-ALL 70.18
Cost       11,197 images/s on 8x V100 (arcface_torch, 2021);
           derived: 8.5 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import GLINT360K

config = edict(GLINT360K)
config.network = "mbf"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
