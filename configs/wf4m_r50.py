"""IResNet-50 on WebFace4M with CosFace.

Paper      WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf4m_r50.py
Expected   no published figure
Cost       4,521 images/s on 8x V100-32GB (arcface_torch, 2021, 250,000 identities);
           derived: 5.2 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF4M

config = edict(WF4M)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
