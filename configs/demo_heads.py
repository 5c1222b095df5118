"""A small IResNet on 400 people who do not exist, verified on 450 others: a demonstration that downloads nothing.

Paper      CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414); the faces are our own
           (recognition/heads): three-dimensional, drawn from numbers in the first epoch and kept for the others
Command    torchrun --nproc_per_node=2 launch/train.py configs/demo_heads.py
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

config = edict()
config.rec = "heads"
config.num_classes = 400
config.num_image = 8000
config.image_size = 64
config.val_targets = ["heads"]
config.network = "r_tiny"
config.embedding_size = 128
config.margin_list = (1.0, 0.0, 0.2)  # CosFace
config.batch_size = 32
config.num_epoch = 3
config.warmup_epoch = 1
config.verbose = 125
