"""IResNet-50 on WebFace42M with CosFace, 20 % of the class centres a step, 4096 images a step on 8 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf42m_pfc02_8gpus_r50_bs4k.py
Expected   IJB-C 97.53 at 1e-4, 96.16 at 1e-5; MFR-ALL 93.83
Cost       5,900 images/s on 8 GPUs of a kind not stated (arcface_torch);
           derived: 40.0 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC02

config = edict(WF42M_PFC02)
config.network = "r50"
config.batch_size = 512
config.lr = 0.4
config.warmup_epoch = 2
config.verbose = 10000
