"""IResNet-50 on WebFace12M-Conflict, 30 % of the centres a step, those above cosine 0.4 left out.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf12m_conflict_r50_pfc03_filter04.py
Expected   IJB-C 97.28 at 1e-4, 95.75 at 1e-5; MFR-ALL 91.68
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import WF12M_CONFLICT

config = edict(WF12M_CONFLICT)
config.network = "r50"
config.margin_list = (1.0, 0.0, 0.4)
config.sample_rate = 0.3
config.interclass_filtering_threshold = 0.4
config.fp16 = True
config.weight_decay = 5e-4
config.num_epoch = 20
config.warmup_epoch = 2
