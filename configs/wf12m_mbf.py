"""MobileFaceNet on WebFace12M with CosFace.

Paper      WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (arXiv:1804.07573)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf12m_mbf.py
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import WF12M

config = edict(WF12M)
config.network = "mbf"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
