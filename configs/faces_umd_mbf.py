"""MobileFaceNet on UMDFaces with CosFace: a small set and a small network, to learn the ropes with.

Paper      CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (arXiv:1804.07573)
           UMDFaces: An Annotated Face Dataset for Training Deep Networks (arXiv:1611.01484)
Command    torchrun --nproc_per_node=8 launch/train.py configs/faces_umd_mbf.py rec=/data/faces_umd
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import FACES_UMD

config = edict(FACES_UMD)
config.network = "mbf"
config.margin_list = (1.0, 0.0, 0.4)  # CosFace
config.fp16 = True
config.weight_decay = 1e-4
config.num_epoch = 20
