"""ViT-T on WebFace42M with CosFace, 30 % of the class centres a step, 4096 images a step on 8 GPUs.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
           WebFace260M: A Benchmark Unveiling the Power of Million-Scale Deep Face Recognition (arXiv:2103.04098)
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
           An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale (arXiv:2010.11929)
Command    torchrun --nproc_per_node=8 launch/train.py configs/wf42m_pfc03_40epoch_8gpu_vit_t.py
Expected   no published figure at sample rate 0.3; at 0.2 IJB-C 97.27 at 1e-4, 95.68 at 1e-5; MFR-ALL 92.04
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.recipes import WF42M_PFC03_VIT

config = edict(WF42M_PFC03_VIT)
config.network = "vit_t_dp005_mask0"
config.batch_size = 512
