"""IResNet-50 on Glint360K with CosFace: the recipe to start from.

360,232 identities make a classifier larger than the network: 184 million weights against 44 million. It is sharded over
the GPUs, so each of eight holds 45,029 identities. The margin is CosFace's: arcface_torch trains ArcFace on MS1MV2 and
MS1MV3, and CosFace on everything larger.

Paper      Partial FC: Training 10 Million Identities on a Single Machine (arXiv:2010.05222)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/glint360k_r50.py
           torchrun --nproc_per_node=8 launch/train.py configs/glint360k_r50.py rec=/data/glint360k precision=bf16
           python launch/train.py configs/glint360k_r50.py lr=0.02          (one GPU: an eighth of the images a step)
           python launch/train.py configs/glint360k_r50.py tiny=True        (no data, no GPU: does it run here?)
Expected   IJB-C 97.16 at 1e-4, 95.81 at 1e-5; MFR-ALL 86.34
           with sample rate 0.1 (2021): IJB-C 96.97, 95.61; LFW 99.83, CFP-FP 99.20, AgeDB-30 98.38
Cost       5,136 images/s on 8x V100 (arcface_torch, 2021);
           derived: 18.5 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import GLINT360K

config = edict(GLINT360K)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)  # CosFace
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
