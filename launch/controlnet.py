"""Train ImageControlNet: a picture of a face and a pose -> the same face in that pose.

    python launch/controlnet.py --data_dir DIR --recogniser RUN                            one process
    torchrun --nproc_per_node=8 launch/controlnet.py --data_dir DIR --recogniser RUN       one process per GPU

DIR holds front_metadata.json, front_keypoints.npy, video_metadata.json and video_keypoints.npy (launch/poses.py makes
them from photos, videos or drawn heads). RUN is a training run of launch/train.py, or the weights of a recogniser.

Two stages: first --freeze_generator, then the same without it, a lower --lr and --resume .../best_model.pth.
Where memory is short: a smaller --batch_size with --gradient_accumulation_steps, and --use_amp.
"""

from generation.posecontrol.arguments import config_of
from generation.posecontrol.loop import train
from recognition.cluster.requeue import run_and_requeue
from recognition.command import run_command


def main() -> None:
    """Parse the command line and run."""
    run_and_requeue(train, config_of(description=__doc__))


if __name__ == "__main__":
    run_command(main)
