"""IResNet-100 on Glint360K with CosFace.

Paper      Partial FC: Training 10 Million Identities on a Single Machine (arXiv:2010.05222)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/glint360k_r100.py
Expected   IJB-C 97.55 at 1e-4, 96.38 at 1e-5; MFR-ALL 89.52
Cost       3,332 images/s on 8x V100 (arcface_torch, 2021);
           derived: 28.5 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import GLINT360K

config = edict(GLINT360K)
config.network = "r100"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
