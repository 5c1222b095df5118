"""LoRA on Stable Diffusion 3.5 medium with the identity loss, on one GPU.

Paper      Flow Matching for Generative Modeling (arXiv:2210.02747); LoRA (arXiv:2106.09685)
           ArcFace as a loss, as in pSp (arXiv:2008.00951)
Command    python launch/lora.py configs/lora_sd3.py transformer=sd3.5-medium vae=sd3.5-medium data=faces.jsonl \
               arcface_weights=work_dirs/glint360k_r50 held_out_recogniser=work_dirs/ms1mv3_r100
Expected   no published figure
Cost       not measured
"""

from easydict import EasyDict as edict

config = edict()
config.image_size = 512
config.rank = 16
config.precision = "bf16"
config.gradient_checkpointing = True
config.batch_size = 2
config.gradient_acc = 2
config.prompt_tokens = 256
config.use_face_loss = True
config.face_loss_weight = 0.1
config.face_align_mode = "kps"
config.face_max_t = 0.7
config.gen_face_source = "reference"
config.vae_checkpointing = True
config.face_window = True
config.max_steps = 2000
config.warmup_steps = 100
config.schedule = "cosine"
