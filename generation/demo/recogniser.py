"""The command that trains a recogniser for the demonstrations: it tells drawn people apart, and fits on one core."""

SIDE = 32
TRAIN = (
    *("train.py", "configs/demo_heads.py", f"image_size={SIDE}", "num_classes=250", "num_image=4000", "num_epoch=5"),
    *("verbose=1000", "threads=1"),
)
