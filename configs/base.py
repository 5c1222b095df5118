"""Every key of a training run, with its default. Experiments name only what differs.

Command    torchrun --nproc_per_node=8 launch/train.py configs/base.py rec=/data/faces num_epoch=20
Change     any key by `key=value` after the config file: lr=0.02 val_targets=lfw,agedb_30 output=runs/first

Keys marked (theirs) are accepted so that config files of arcface_torch load unchanged, and have no effect here yet.
"""

from easydict import EasyDict as edict

config = edict()

# ---- Data -----------------------------------------------------------------------------------------------------------

# Training set, required. A folder: with train.rec (and train.idx, property) or shards train-000.rec, train-001.rec ...,
# with shards of WebDataset (.tar: KEY.jpg beside KEY.cls or KEY.json), with .parquet files or what save_to_disk wrote
# (the `datasets` extra), or with one folder per identity. A .rec, .tar, .parquet or .lst file. A pattern, in quotes:
# "shards/train-{000..123}.tar" or "shards/*.tar". Several of these as a list, or "a,b". Or drawn on the
# fly: "heads" (three-dimensional) or "synthetic" (flat, faster).
config.rec = None
# What a label means in several sets or files. "shared": the same identity in all. "apart": the identities of each entry
# of rec (of each file, if it has one entry only) come after those of the entries before: for sets of different people.
config.rec_labels = "shared"
# Columns of a parquet or saved set; None = the one called image, img, jpg, ... and label, identity, person, ...
config.image_column = None
config.label_column = None
# Identities in the training set, and images in it. None: as the data says. Drawn sets need both.
config.num_classes = None
config.num_image = None
# Side of the square input in pixels.
config.image_size = 112
# Mirror each training image with probability 1/2, keyed by (seed, epoch, image).
config.flip = True
# Training images changed at random, keyed as the flip is: a list of NAME:PROBABILITY, in any order, each with ranges to
# draw from after it if the usual ones (in brackets) do not suit, e.g. ["blur:0.2:sigma=0.5..2", "grey:0.1"]; [] = none.
#   resize  smaller and back (scale=0.5..0.8)          crop    a window, enlarged (scale=0.85..1, share of the side)
#   blur    Gaussian (sigma=0.4..1.6, pixels)          erase   noise in a rectangle (area=0.02..0.2, share)
#   hsv     hue=-20..20 (degrees), saturation=0.7..1.3, brightness=0.7..1.3 (factors)
#   grey    without colour                             lowres  as of a coarse camera (factor=2..8, on each side)
#   mask    a face mask over nose, mouth and chin of a face aligned to ArcFace's template
# recognition/data/AUGMENTATION.md shows them all; `launch/records.py augment` shows them on your own set.
config.augment = []
# Wrong labels on purpose, keyed by (seed, image): "flip:0.4" gives that share of the images another identity's label,
# "conflict:0.3:3" puts that share of the identities under 3 labels each (more classes); None = the labels as they are.
config.label_noise = None
# Decode with NVIDIA DALI instead of the built-in threads; needs the `dali` extra.
config.dali = False
# arcface_torch's augmentation, with either loader: augment = ["resize:0.1:scale=0.5..0.8", "blur:0.2:sigma=0.75",
# "hsv:0.2:hue=0..20:saturation=1..1.2:brightness=1", "grey:0.1"].
config.dali_aug = False
# Decode threads per rank; 0 = decode in the training loop.
config.num_workers = 2
# Batches that each rank keeps decoded in advance.
config.prefetch_batches = 4
# Seconds without a batch after which the run ends with an error instead of waiting for ever.
config.data_timeout_s = 60.0
# A record that cannot be read: "raise" ends the run with its place; "skip" shows another in its place, drawn by (seed,
# epoch, record), and lists it in bad_records.csv and the report. A run that one has ended may go on with "skip".
config.on_bad_record = "raise"
# skip: share of the images that may be bad, rounded up to whole images; the run ends with an error when there are more.
config.bad_record_share = 1e-4

# ---- Backbone -------------------------------------------------------------------------------------------------------

# r18 r34 r50 r100 r200 r2060, mbf mbf_large, vit_t vit_s vit_b vit_h, vit_t_dp005_mask0 vit_s_dp005_mask_0
# vit_b_dp005_mask_005 vit_l_dp005_mask_005, and for tests r_tiny mbf_tiny vit_tiny.
config.network = "r50"
# Numbers in an embedding.
config.embedding_size = 512
# Share of the last feature map dropped in training, in [0, 1).
config.dropout = 0.0
# Recompute activations in the backward pass: less memory, about a third more time.
config.gradient_checkpointing = False

# ---- Loss -----------------------------------------------------------------------------------------------------------

# "combined" (ArcFace, CosFace, SphereFace and all between, by margin_list), "subcenter_arcface", "adaface", "magface",
# "curricularface" or "uniface"; recognition/head/losses has the formulas. Another loss's keys must stay as they are.
config.loss = "combined"
# s, the factor between cosine and logit.
config.scale = 64.0
# (m1, m2, m3) of cos(m1 * theta + m2) - m3. ArcFace (1.0, 0.5, 0.0), CosFace (1.0, 0.0, 0.4).
# For combined and subcenter_arcface, as are the next two keys; the other losses have a margin of their own below.
config.margin_list = (1.0, 0.5, 0.0)
# "exact": the gradient of the formula above. "straight_through": the margin counts as a constant, as in arcface_torch.
config.margin_gradient = "exact"
# Cosine above which a wrong class counts as the same person under another label and is left out;
# 0 = off, 0.4 for noisy sets.
config.interclass_filtering_threshold = 0.0
# subcenter_arcface: centres of each identity, the nearest counts; memory of the head grows with them.
config.sub_centers = 3
# adaface: the margin, in radians and as a cosine.
config.adaface_m = 0.4
# adaface: the quality of an image is this times its norm's distance from the mean in standard deviations, in [-1, 1].
config.adaface_h = 0.333
# adaface: weight of the newest batch in the running mean and deviation of the norms, in (0, 1].
config.adaface_t_alpha = 0.01
# magface: smallest and largest norm of an embedding that the margin tells apart.
config.magface_norms = (10.0, 110.0)
# magface: the margins at these two norms, in radians.
config.magface_margins = (0.45, 0.8)
# magface: weight of the regulariser that keeps norms large.
config.magface_lambda_g = 35.0
# curricularface: the margin, in radians.
config.curricularface_m = 0.5
# curricularface: weight of the newest batch in the running mean of the target cosines, in (0, 1].
config.curricularface_t_alpha = 0.01
# uniface: the margin, as a cosine.
config.uniface_m = 0.4
# uniface: weight of the sum over wrong classes against the right one's term.
config.uniface_lambda = 1.0

# ---- Class centres --------------------------------------------------------------------------------------------------

# Share of the class centres that a step computes with (PartialFC), in (0, 1]; those of the batch are always in.
config.sample_rate = 1.0
# What happens to a centre in the steps that do not sample it. "exact": momentum and weight decay move it on, as if all
# centres were stepped. "skip": nothing; AdamW is always so.
config.lazy = "exact"
# Where centres and their optimizer state live: "memory" (of the device), "host" (beside a GPU) or "mmap:FOLDER", files
# in that folder, made anew by each run, for more identities than memory holds.
config.centers = "memory"
# "keep" the weights of the classes between the two passes (faster), "recompute" them (less memory), or "auto".
config.head_mode = "auto"
# Number format of the factors in the head's products, sums are float32: "fp32", "tf32", "bf16"; "auto" = fp32 on a CPU.
config.head_operands = "auto"

# ---- Optimisation ---------------------------------------------------------------------------------------------------

# Images per rank and micro-step. A step uses batch_size * ranks * gradient_acc images.
config.batch_size = 128
# Micro-steps whose gradients are averaged into one step.
config.gradient_acc = 1
# "sgd" or "adamw" (for ViT: lr 0.001, weight_decay 0.1).
config.optimizer = "sgd"
# Learning rate at the end of warm-up. 0.1 suits SGD with 1024 images a step, 0.02 with 128.
config.lr = 0.1
# Momentum of SGD, in [0, 1). AdamW has its own betas.
config.momentum = 0.9
# Weight decay of matrices and class centres.
config.weight_decay = 5e-4
# Apply it to BatchNorm, biases and PReLU slopes too.
config.decay_norms = False
# Passes over the training set; fractions are fine.
config.num_epoch = 20
# Epochs of linear warm-up, from near 0 to lr; fractions are fine, at most num_epoch.
config.warmup_epoch = 0
# Decay after warm-up, to 0: "polynomial" (a straight line) or "cosine".
config.schedule = "polynomial"
# Largest norm of the backbone's gradient, longer ones are scaled down; 0 = off.
config.max_grad_norm = 5.0
# Decay per step of the moving average of the weights that is verified and exported, e.g. 0.9999; 0 = off.
config.ema_decay = 0.0
# Stop after this many steps, on the schedule of the whole run; None = run to the end.
config.max_steps = None
# Seed of initial weights, order, flips and sampling.
config.seed = 2048

# ---- Precision and speed --------------------------------------------------------------------------------------------

# "fp32", "bf16" or "fp16" in the body of the backbone (last layers and head: always fp32); None = as fp16 says.
config.precision = None
# arcface_torch's switch: True = "fp16". Command line wins over file, for either key.
config.fp16 = False
# Fuse the backbone with torch.compile: minutes at the start, faster steps.
config.compile = False

# ---- Where it runs --------------------------------------------------------------------------------------------------

# "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N".
config.device = "auto"
# CPU threads per rank; 0 = the cores of the machine shared among its ranks.
config.threads = 0
# Seconds that a rank waits for the others in a collective before the run ends with an error.
config.collective_timeout_s = 120.0

# ---- Checkpoints and resume -----------------------------------------------------------------------------------------

# "auto": go on where the run's newest checkpoint was written, if there is one; True: there must be one; False: start
# anew, an earlier run in the folder is set aside.
config.resume = "auto"
# Steps between two checkpoints, and minutes since the last; whichever comes first. 0 = not by this count.
config.checkpoint_steps = 2000
config.checkpoint_minutes = 30.0
# The newest so many checkpoints are kept, ...
config.checkpoint_keep = 2
# ... those of a step that is a multiple of this (0 = none), ...
config.checkpoint_keep_every = 0
# ... and one written where verification found the best model so far.
config.checkpoint_keep_best = True
# A checkpoint that cannot be written (disk full): "continue" with training, to try again at the next, or "stop".
config.checkpoint_error = "continue"
# Restarts by torchrun without a newer checkpoint after which the run gives up.
config.restart_limit = 3
# Under SLURM: which signal makes the run ask for its job to be queued again once its checkpoint is written: "usr1" (the
# time limit is near), "always" (SIGTERM too, which `scancel` also sends) or "never".
config.requeue = "usr1"

# ---- Starting from another model ------------------------------------------------------------------------------------

# Backbone to start from: a run, one of its checkpoints, a .safetensors, arcface_torch's model.pt / backbone.pth, or a
# folder with its checkpoint_gpu_N.pt; None = random weights.
config.init = None
# Class centres to start from, where `init` has some: "same" (label i there is label i here), a CSV file with columns
# label and old_label, for identities that persist (the others start fresh), or None = all fresh.
config.class_map = None
# Parts of the backbone that stay as they are: beginnings of parameter names, or "backbone" for all; [] = none.
config.freeze = []
# Epoch at which they begin to train; None = never.
config.thaw_epoch = None
# Factors on lr by part, e.g. ["backbone:0.1", "layer1:0.01", "head:1"]; the longest beginning of a name counts.
config.lr_factors = []

# ---- Guards ---------------------------------------------------------------------------------------------------------

# A step whose loss or gradient is not finite on any rank changes nothing; after so many in a row the run ends.
config.max_bad_steps = 3
# A loss above this many times the median of the last 100 is logged with its samples; 0 = off.
config.spike_factor = 5.0
# Steps between two checks that all ranks hold the same weights, bit for bit; 0 = only when a checkpoint is written.
config.agreement_steps = 1000

# ---- Verification, logging and files --------------------------------------------------------------------------------

# Names of the .bin sets to verify on, without ".bin"; "heads" and "synthetic" are drawn on the fly; [] = none.
config.val_targets = []
# Folder of the .bin sets; None = rec, or the folder that it lies in.
config.val_dir = None
# Images per rank in one forward pass of verification.
config.val_batch_size = 64
# Steps between two verifications; the last step always has one.
config.verbose = 2000
# Steps between two lines of the log.
config.frequent = 10
# Folder of the run; None = work_dirs/<name of the config file>.
config.output = None
# Write TensorBoard files into the run's folder.
config.using_tensorboard = True
# Export model.onnx at the end and check it against PyTorch.
config.export_onnx = True
# (theirs) Save optimizer and class centres of every rank.
config.save_all_states = False
# Free text stored with the run; None = nothing.
config.notes = None

# ---- Weights & Biases (the `wandb` extra) ---------------------------------------------------------------------------

# Log to wandb as well, from the main rank.
config.using_wandb = False
# API key, never printed or stored; None = the one of `wandb login` or WANDB_API_KEY, which is the better place for it.
config.wandb_key = None
# Team or user, None = your default; and project.
config.wandb_entity = None
config.wandb_project = "arcscale"
# Appended to the run's name; None = nothing.
config.suffix_run_name = None
# (theirs) Log from every rank; here the main rank logs for all.
config.wandb_log_all = True
# (theirs) Upload checkpoints.
config.save_artifacts = False
# (theirs) Continue an interrupted wandb run.
config.wandb_resume = False

# ---- Trying it out --------------------------------------------------------------------------------------------------

# Shrink the experiment to seconds on a CPU: the smallest network of its family, a few synthetic identities, four steps.
config.tiny = False
