r"""IResNet-50 on WebFace42M with CosFace, 20 % of the class centres a step, 4096 images a step on 32 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nnodes=4 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc02_32gpus_r50_bs4k.py    (on each of 4 nodes)
Expected   IJB-C 97.48 at 1e-4, 95.94 at 1e-5; MFR-ALL 94.04
Cost       17,000 images/s on 32 GPUs of a kind not stated (arcface_torch);
           derived: 13.9 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF42M

config = edict(WF42M)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)
config.sample_rate = 0.2
config.fp16 = True
config.weight_decay = 5e-4
config.lr = 0.4
config.num_epoch = 20
config.warmup_epoch = 2
config.verbose = 10000
