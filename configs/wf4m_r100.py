"""IResNet-100 on WebFace4M with CosFace.

Paper      WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf4m_r100.py
Expected   IJB-C 97.19 at 1e-4, 95.48 at 1e-5; MFR-ALL 89.87
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import WF4M

config = edict(WF4M)
config.network = "r100"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
