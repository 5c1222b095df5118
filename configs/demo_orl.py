"""MobileFaceNet on 30 people of the AT&T (ORL) faces with CosFace, verified on the other 10: the demonstration.

Paper      Parameterisation of a Stochastic Model for Human Face Identification (Samaria and Harter 1994): the faces
           CosFace: Large Margin Cosine Loss for Deep Face Recognition (arXiv:1801.09414)
Command    make demo, or where it has packed the faces:
           torchrun --nproc_per_node=2 launch/train.py configs/demo_orl.py
Expected   no published figure; make demo gave 0.879 on 900 pairs (README, "Measured")
Cost       no published rate; make demo took four minutes on 2 CPU cores
"""

from easydict import EasyDict as edict

config = edict()
config.rec = "demo/orl/train"
config.val_dir = "demo/orl"
config.val_targets = ["orl"]
config.network = "mbf"
config.margin_list = (1.0, 0.0, 0.4)  # CosFace
config.batch_size = 15
config.num_epoch = 20
config.warmup_epoch = 1
config.verbose = 100
