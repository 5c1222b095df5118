r"""IResNet-100 on WebFace42M with CosFace, 30 % of the class centres a step, 4096 images a step on 32 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nnodes=4 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc03_32gpu_r100.py    (on each of 4 nodes)
Expected   IJB-C 97.82 at 1e-4, 96.45 at 1e-5; MFR-ALL 96.69
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC03_IRESNET

config = edict(WF42M_PFC03_IRESNET)
config.network = "r100"
