"""LoRA with the identity loss on people who do not exist, with models trained a minute before: downloads nothing.

Paper      Flow Matching for Generative Modeling (arXiv:2210.02747); LoRA (arXiv:2106.09685)
           ArcFace as a loss, as in pSp (arXiv:2008.00951)
Command    make demo-identity, which makes all that this names
Expected   no published figure
Cost       no published rate
"""

from easydict import EasyDict as edict

config = edict()
config.image_size = 32
config.guidance_scale = 1.0
config.rank = 16
config.target_modules = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
                         "net.0.proj", "net.2"]  # fmt: skip
config.use_face_loss = True
config.face_loss_weight = 0.1
config.face_align_mode = "kps"
config.face_max_t = 0.8
config.arcface_model = "r_tiny"
config.gen_face_source = "reference"
config.batch_size = 8
config.lr = 2e-3
config.max_steps = 400
config.warmup_steps = 20
config.schedule = "cosine"
config.monitor_every = 100
config.monitor_samples = 16
config.sample_every = 200
config.num_samples = 6
config.frequent = 20
config.threads = 1
