from easydict import EasyDict as edict

# A config as people keep it in arcface_torch's configs/ folder, with what its training script leaves in there.

config = edict()
config.margin_list = [1.0, 0.0, 0.4]
config.network = "mbf"
config.resume = False
config.save_all_states = False
config.output = None
config.embedding_size = 512
config.sample_rate = 1
config.interclass_filtering_threshold = 0
config.fp16 = True
config.optimizer = "sgd"
config.momentum = 0.9
config.weight_decay = 1e-4
config.batch_size = 128
config.gradient_acc = 1
config.lr = 0.1
config.verbose = 2000
config.frequent = 10
config.dali = False
config.dali_aug = False
config.seed = 2048
config.num_workers = 2

config.rec = "/data/my_faces"
config.num_classes = 1000 * 10
config.num_image = 500000
config.num_epoch = 20
config.warmup_epoch = config.num_epoch // 10
config.val_targets = ['lfw', 'cfp_fp', "agedb_30"]

config.wandb_key = "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"
config.suffix_run_name = None
config.using_wandb = False
config.wandb_entity = "entity"
config.wandb_project = "project"
config.wandb_log_all = True
config.save_artifacts = False
config.wandb_resume = False
config.notes = "second try"

config.total_batch_size = 1024
config.warmup_step = 976
config.total_step = 9760
