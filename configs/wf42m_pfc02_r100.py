"""IResNet-100 on WebFace42M with CosFace, 20 % of the class centres a step, on one machine.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf42m_pfc02_r100.py
Expected   IJB-C 97.70 at 1e-4, 96.31 at 1e-5; MFR-ALL 96.27
Cost       3,480 images/s on 8x A100-80G (arcface_torch, 2M identities, sample rate not stated);
           derived: 67.8 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC02

config = edict(WF42M_PFC02)
config.network = "r100"
config.verbose = 10000
