"""The two recognisers of the demonstration of turned faces differ in their pictures, and in nothing else."""

from generation.demo.recogniser import TRAIN
from launch.demo_pose import PEOPLE, PICTURES, YAWS, budget
from recognition.config import load_config
from recognition.training.plan import Progressed, plan_steps
from tests.conftest import CONFIGS


def test_sets_of_any_size_have_equal_steps_and_learning_rates():
    plans = []
    for count in (PEOPLE * PICTURES, PEOPLE * PICTURES * (1 + len(YAWS))):
        words = (*TRAIN[2:], *budget(count), "rec=heads", "val_targets=heads", f"num_classes={PEOPLE}")
        cfg = load_config(CONFIGS / "demo_heads.py", words)
        assert cfg.num_image == count
        plans.append(plan_steps(cfg, 1, Progressed(0, 0)))
    assert plans[0] == plans[1]
    assert (plans[0].total, plans[0].warmup) == (625, 50)
