#!/bin/bash
# Train on the GPUs of several nodes.
# By hand, from the folder of arcscale (options of sbatch go before the file and win over those below):
#     sbatch --nodes=4 launch/slurm/many_nodes.sh CONFIG [key=value ...]
# `python launch/slurm.py` fills this file in and submits it.
#SBATCH --job-name=arcscale
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-gpu=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

arcscale=$PWD
python=python
ranks=${SLURM_GPUS_ON_NODE:-1}
interface=
shutdown_s=110
# Your environment, if it needs more than python on the PATH: module load cuda; source .venv/bin/activate

[ -f "$arcscale/launch/train.py" ] || { echo "$arcscale is not the folder of arcscale: submit from there" >&2; exit 2; }
[ $# -ge 1 ] || { echo "which config? sbatch --nodes=4 launch/slurm/many_nodes.sh CONFIG [key=value ...]" >&2; exit 2; }
if [ -n "$interface" ]; then export GLOO_SOCKET_IFNAME=$interface NCCL_SOCKET_IFNAME=$interface; fi

# Where the nodes meet: on the first, at a port of this job's own.
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((15000 + 16 * SLURM_JOB_ID % 15000))

# One torchrun agent a node. --signal without B: reaches the agents, which hand USR1 on to their ranks and give them
# shutdown_s seconds to write a checkpoint. An agent ends with 1 after that, so a bad exit must not end the others:
# rank 0 may still be writing.
srun --kill-on-bad-exit=0 --cpu-bind=none "$python" -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$ranks" --max-restarts=3 \
    --rdzv-backend=c10d --rdzv-endpoint="$first:$port" --rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
    --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 --shutdown-timeout="$shutdown_s" \
    "$arcscale/launch/train.py" "$@"
