"""IResNet-100 on WebFace12M with CosFace.

Paper      WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf12m_r100.py
Expected   IJB-C 97.59 at 1e-4, 95.97 at 1e-5; MFR-ALL 94.69
Cost       3,700 images/s on 8x A100-80G (arcface_torch, 618K identities);
           derived: 19.1 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF12M

config = edict(WF12M)
config.network = "r100"
config.margin_list = (1.0, 0.0, 0.4)
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
