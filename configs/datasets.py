"""What a training set dictates: where it lies, how much it holds, what usually lies beside it to verify on.

Start an experiment from one: `config = edict(MS1MV3)`. `rec` is where arcface_torch's files look, a RAM disk
filled from slower storage; name your own place with `rec=/data/ms1mv3` on the command line.
"""

from easydict import EasyDict as edict

_LFW_FAMILY = ["lfw", "cfp_fp", "agedb_30"]

# MS-Celeb-1M (arXiv:1607.08221) as cleaned for ArcFace (arXiv:1801.07698); InsightFace's "faces_emore".
MS1MV2 = edict(rec="/train_tmp/faces_emore", num_classes=85_742, num_image=5_822_653, val_targets=_LFW_FAMILY)

# MS-Celeb-1M cleaned again, aligned with RetinaFace; Lightweight Face Recognition Challenge, ICCV workshops 2019.
MS1MV3 = edict(rec="/train_tmp/ms1m-retinaface-t1", num_classes=93_431, num_image=5_179_510, val_targets=_LFW_FAMILY)

# Glint360K, from the first Partial FC paper (arXiv:2010.05222).
GLINT360K = edict(rec="/train_tmp/glint360k", num_classes=360_232, num_image=17_091_657, val_targets=_LFW_FAMILY)

# WebFace260M (arXiv:2103.04098), cleaned: 10 %, 30 % and all of its 42.5 million images.
WF4M = edict(rec="/train_tmp/WebFace4M", num_classes=205_990, num_image=4_235_242, val_targets=_LFW_FAMILY)
WF12M = edict(rec="/train_tmp/WebFace12M", num_classes=617_970, num_image=12_720_066, val_targets=[])
WF42M = edict(rec="/train_tmp/WebFace42M", num_classes=2_059_906, num_image=42_474_557, val_targets=_LFW_FAMILY)

# WebFace12M with noise added for Partial FC (arXiv:2203.15565): identities split over several labels,
# and 40 % of the labels flipped to another identity.
WF12M_CONFLICT = edict(WF12M, rec="/train_tmp/WebFace12M_Conflict", num_classes=1_017_970)
WF12M_FLIP40 = edict(WF12M, rec="/train_tmp/WebFace12M_FLIP40")

# UMDFaces (arXiv:1611.01484) in InsightFace's record form; the record file counts its own images.
FACES_UMD = edict(rec="/train_tmp/faces_umd", num_classes=8_277, num_image=None, val_targets=_LFW_FAMILY)

# As many identities as asked for, drawn procedurally, for speed and for tests: set num_classes and num_image.
SYNTHETIC = edict(rec="synthetic", val_targets=[])
