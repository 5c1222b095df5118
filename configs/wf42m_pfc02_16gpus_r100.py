r"""IResNet-100 on WebFace42M with CosFace, 20 % of the class centres a step, 4096 images a step on 16 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc02_16gpus_r100.py    (on each of 2 nodes)
Expected   IJB-C 97.85 at 1e-4, 96.63 at 1e-5; MFR-ALL 96.69
Cost       5,200 images/s on 16 GPUs of a kind not stated (arcface_torch);
           derived: 45.4 h for 20 epochs
"""

from easydict import EasyDict as edict

from configs.datasets import WF42M

config = edict(WF42M)
config.network = "r100"
config.margin_list = (1.0, 0.0, 0.4)
config.sample_rate = 0.2
config.fp16 = True
config.batch_size = 256
config.weight_decay = 5e-4
config.lr = 0.3
config.num_epoch = 20
config.warmup_epoch = 1
