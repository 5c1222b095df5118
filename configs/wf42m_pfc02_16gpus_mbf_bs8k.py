r"""MobileFaceNet on WebFace42M with CosFace, 20 % of the class centres a step, 8192 images a step on 16 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices (arXiv:1804.07573)
Command    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc02_16gpus_mbf_bs8k.py    (on each of 2 nodes)
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC02

config = edict(WF42M_PFC02)
config.network = "mbf"
config.batch_size = 512
config.weight_decay = 1e-4
config.lr = 0.4
config.warmup_epoch = 2
config.val_targets = []
config.verbose = 10000
