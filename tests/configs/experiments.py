"""Which files in configs/ launch/train.py takes."""

from tests.conftest import CONFIGS

SHARED = ("__init__", "base", "datasets", "recipes")
# Those of launch/lora.py begin with its name.
EXPERIMENTS = sorted(
    path.stem for path in CONFIGS.glob("*.py") if path.stem not in SHARED and not path.stem.startswith("lora_")
)
