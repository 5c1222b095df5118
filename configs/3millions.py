"""MobileFaceNet against 300,000 synthetic identities: how fast a machine is, not how well it recognises.

arcface_torch calls the file so, although its identities are 0.3 million; num_classes=3000000 makes the name true.

Paper      Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC
           (arXiv:2203.15565)
Command    torchrun --nproc_per_node=8 launch/train.py configs/3millions.py max_steps=500
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

from configs.datasets import SYNTHETIC

config = edict(SYNTHETIC)
config.num_classes = 300_000
config.num_image = 100_000
config.network = "mbf"
config.margin_list = (1.0, 0.0, 0.4)
config.sample_rate = 0.1
config.fp16 = True
config.batch_size = 512
config.num_epoch = 30
