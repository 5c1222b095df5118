r"""ViT-H on WebFace42M with CosFace, half of the class centres a step (not 20 %, as the file name has it).

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale (arXiv:2010.11929)
Command    torchrun --nnodes=8 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc02_vit_h.py    (on each of 8 nodes)
Expected   no published figure
Cost       no published rate; the number of GPUs is not stated either, 64 is the other large ViTs'
"""

from easydict import EasyDict as edict

from configs.datasets import WF42M

config = edict(WF42M)
config.network = "vit_h"
config.margin_list = (1.0, 0.0, 0.4)
config.sample_rate = 0.5
config.fp16 = True
config.optimizer = "adamw"
config.batch_size = 768
config.lr = 0.001
config.weight_decay = 0.1
config.num_epoch = 16
config.warmup_epoch = 2
config.val_targets = []
config.dali = True
config.dali_aug = True
config.export_onnx = False  # 2.8 GiB of weights; an ONNX file holds at most 2
