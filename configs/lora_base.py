"""Every key of a LoRA run on a flow-matching model, with its default. Experiments name only what differs.

Command    python launch/lora.py configs/lora_base.py transformer=tiny-flux vae=tiny data=faces.jsonl image_size=64
Change     any key by `key=value` after the config file: lr=5e-5 rank=32 output=runs/first
"""

from easydict import EasyDict as edict

config = edict()

# ---- Data -----------------------------------------------------------------------------------------------------------

# Samples, required: a file with a JSON object in each line, of these keys; paths are relative to the file.
#   image          the picture to learn
#   ref_image      a picture of the person whose face it should have; the face loss needs it, looks go by it
#   prompt_embeds  .safetensors with prompt_embeds (L, D) and pooled_prompt_embeds (P), or an .npy of the first, ...
#   pooled_embeds  ... and an .npy of the second
#   prompt         text instead, for which text_encoders must be set
#   data_type      "person" and "person_head" have a face loss; anything else ("person_hair", ...) has none
config.data = None
# Side of the square pictures in pixels. Pictures are scaled until they fill it, and what is over is cut off evenly;
# references are scaled until they fit into it, the rest black.
config.image_size = 512
# A sample that cannot be used (a missing or damaged file, an unknown key): "raise" ends the run with its line; "skip"
# leaves it out and counts it; the log names the first ten.
config.on_bad_row = "raise"
# Folder where latents, prompts and faces of references are kept, for all runs; None = beside data: faces.cache for
# faces.jsonl.
config.cache = None

# ---- Models ---------------------------------------------------------------------------------------------------------

# Transformer, required: a local folder of diffusers (safetensors) with FluxTransformer2DModel or SD3Transformer2DModel,
# its own or that of the pipeline; or "tiny-flux", "tiny-sd3", small untrained ones. Nothing is downloaded.
config.transformer = None
# VAE, required: a local folder of diffusers with AutoencoderKL, its own or that of the pipeline, or with the small
# AutoencoderTiny (TAEF1, TAESD3: coarser pictures in a fraction of the memory); or "tiny", untrained.
config.vae = None
# Folder of the pipeline that has the text encoders and tokenizers; only for samples with a `prompt`.
config.text_encoders = None
# Tokens of a prompt.
config.prompt_tokens = 512
# Guidance that a distilled Flux (dev) is told; others have none.
config.guidance_scale = 3.5

# ---- Adapter --------------------------------------------------------------------------------------------------------

# Rank of the two matrices beside each adapted one.
config.rank = 16
# Their product counts alpha / rank times; None = rank.
config.alpha = None
# Which linear layers are adapted: the ends of their names.
config.target_modules = ["to_q", "to_k", "to_v", "to_out.0"]
# Adapter to start from, of the same rank, alpha and target_modules: a run, or a file or folder with
# pytorch_lora_weights.safetensors.
config.init = None

# ---- Identity loss --------------------------------------------------------------------------------------------------

# Add face_loss_weight * (1 - cosine) between the faces of the predicted picture and of ref_image to the flow's loss.
config.use_face_loss = False
# 0.05 is light, 0.1 usual, 0.2 strong (it may overfit); 0 computes it for the log alone.
config.face_loss_weight = 0.1
# "bbox": the face's box, cut out and scaled. "kps": turned upright by five points, by the box where there are none.
config.face_align_mode = "bbox"
# "differentiable" is the one that trains.
config.face_loss_type = "differentiable"
# Weights of the recogniser: a training run of launch/train.py, one of its files, or arcface_torch's backbone.pth.
config.arcface_weights = None
# Its network; "r50" or "r100" for arcface_torch's.
config.arcface_model = "r50"
# Time up to which a prediction is looked at, in (0, 1]: near 1, all is noise, and the face in it nobody's.
config.face_max_t = 1.0
# The loss of a prediction at t counts (1 - t) to this power; 0 = all the same.
config.face_weight_over_t = 0.0
# Where a prediction's face is: "detect" looks for it; "reference" takes the reference's place where none is found.
config.gen_face_source = "detect"
# Steps from t to 0 by which a prediction is made; 1 = one step, more are sharper and take as many passes more.
config.unrolled_steps = 1
# Recompute the VAE's blocks in the backward pass: less memory.
config.vae_checkpointing = False
# Decode with a graph only round the face: far less memory, for one more decode without.
config.face_window = False
# What finds faces: a pack ("buffalo_l") or its folder, a detector's .onnx (YuNet, SCRFD, CenterFace), or a .json of
# boxes by the paths of `data`, in pixels of the pictures as trained: cut ones for `image`, padded ones for `ref_image`.
config.detector = "buffalo_l"
# Folder of packs; None = ~/.insightface.
config.root = None

# ---- A second pair of eyes ------------------------------------------------------------------------------------------

# Another recogniser, which only watches: as arcface_weights, or an .onnx, or a pack; None = none. A picture can learn
# to please one network alone: a face that the other does not find alike is no likeness. Looks need arcface_weights;
# without use_face_loss they show what training does by itself.
config.held_out_recogniser = None
# Steps between two looks at generated pictures by both recognisers; 0 = never.
config.monitor_every = 500
# Pictures in a look, from the first samples that have a face loss.
config.monitor_samples = 8
# An alarm is logged when the first recogniser's cosine has gained so much more than the second's.
config.monitor_gap = 0.1
# Steps between two grids of generated pictures in samples/ and TensorBoard; 0 = none but at the end.
config.sample_every = 500
# Pictures in a grid, of the first samples.
config.num_samples = 4
# Steps from noise to picture in both.
config.sample_steps = 20

# ---- Optimisation ---------------------------------------------------------------------------------------------------

# Samples per rank and micro-step. A step uses batch_size * ranks * gradient_acc samples.
config.batch_size = 1
# Micro-steps whose gradients are averaged into one step.
config.gradient_acc = 1
# Recompute the transformer's blocks in the backward pass: less memory, about a third more time.
config.gradient_checkpointing = False
# "adamw" or "sgd".
config.optimizer = "adamw"
# Learning rate after warm-up.
config.lr = 1e-4
# Momentum of SGD, in [0, 1). AdamW has its own betas.
config.momentum = 0.9
# Weight decay of the adapter.
config.weight_decay = 0.01
# Largest norm of the gradient, longer ones are scaled down; 0 = off.
config.max_grad_norm = 1.0
# Steps of the run, and of its schedule.
config.max_steps = 1000
# Steps of linear warm-up.
config.warmup_steps = 0
# Learning rate after warm-up: "constant", or to 0 by "cosine" or "polynomial" (a straight line).
config.schedule = "constant"
# Times are sigmoid(N(t_mean, t_std^2)): at 0 and 1 most lie in the middle.
config.t_mean = 0.0
config.t_std = 1.0
# Seed of initial weights, order, times and noise.
config.seed = 0

# ---- Precision ------------------------------------------------------------------------------------------------------

# "fp32", "bf16" or "fp16": what the transformer is held in and computes in; the adapter is always held in fp32, as the
# recogniser is.
config.precision = "fp32"
# "fp32" or "bf16" for the VAE; many overflow in fp16.
config.vae_precision = "fp32"

# ---- Where it runs --------------------------------------------------------------------------------------------------

# "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N".
config.device = "auto"
# CPU threads per rank; 0 = the cores of the machine shared among its ranks.
config.threads = 0
# Seconds that a rank waits for the others in a collective before the run ends with an error.
config.collective_timeout_s = 600.0

# ---- Checkpoints and resume (as in configs/base.py) -----------------------------------------------------------------

# "auto": go on where the run's newest checkpoint was written, if there is one; True: there must be one; False: start
# anew, an earlier run in the folder is set aside.
config.resume = "auto"
# Steps between two checkpoints, and minutes since the last; whichever comes first. 0 = not by this count.
config.checkpoint_steps = 500
config.checkpoint_minutes = 30.0
# The newest so many checkpoints are kept, and those of a step that is a multiple of the second (0 = none).
config.checkpoint_keep = 2
config.checkpoint_keep_every = 0
# A checkpoint that cannot be written (disk full): "continue" with training, to try again at the next, or "stop".
config.checkpoint_error = "continue"
# Restarts by torchrun without a newer checkpoint after which the run gives up.
config.restart_limit = 3
# Under SLURM: which signal makes the run ask for its job to be queued again: "usr1", "always" or "never".
config.requeue = "usr1"
# A step whose loss or gradient is not finite on any rank changes nothing; after so many in a row the run ends.
config.max_bad_steps = 3
# Steps between two checks that all ranks hold the same adapter, bit for bit; 0 = only when a checkpoint is written.
config.agreement_steps = 1000

# ---- Logging and files ----------------------------------------------------------------------------------------------

# Steps between two lines of the log.
config.frequent = 10
# Folder of the run; None = work_dirs/<name of the config file>.
config.output = None
# Write TensorBoard files into the run's folder.
config.using_tensorboard = True
# Free text stored with the run; None = nothing.
config.notes = None
# Log to Weights & Biases as well (the `wandb` extra); keys as in configs/base.py.
config.using_wandb = False
config.wandb_key = None
config.wandb_entity = None
config.wandb_project = "arcscale"
config.suffix_run_name = None
