"""Train StarGAN: a picture of a face and attributes -> the same face with these attributes.

    python launch/stargan.py --config configs/stargan_celeba.yaml --data_dir DIR                one process
    torchrun --nproc_per_node=8 launch/stargan.py --data_dir DIR --selected_attrs Male Young     one process per GPU

DIR holds CelebA (list_attr_celeba.txt beside img_align_celeba/ or images/), a folder of pictures for each attribute, or
train.rec with attributes.txt. It is not downloaded: mmlab.ie.cuhk.edu.hk/projects/CelebA.html says under which terms it
is given. What comes of a run is stargan_G.pth; launch/edits.py edits pictures with it and judges it, launch/export.py
makes ONNX of it.
"""

from generation.stargan.arguments import config_of
from generation.stargan.loop import train
from recognition.cluster.requeue import run_and_requeue
from recognition.command import run_command


def main() -> None:
    """Parse the command line and run."""
    run_and_requeue(train, config_of(description=__doc__))


if __name__ == "__main__":
    run_command(main)
