r"""ViT-B on WebFace42M with CosFace, 30 % of the class centres a step, 24,576 images a step on 64 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale (arXiv:2010.11929)
Command    torchrun --nnodes=8 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
               launch/train.py configs/wf42m_pfc03_40epoch_64gpu_vit_b.py    (on each of 8 nodes)
Expected   IJB-C 97.90 at 1e-4, 97.04 at 1e-5; MFR-ALL 97.42
Cost       13,800 images/s on 64 GPUs of a kind not stated (arcface_torch);
           derived: 34.2 h for 40 epochs
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC03_VIT

config = edict(WF42M_PFC03_VIT)
config.network = "vit_b_dp005_mask_005"
