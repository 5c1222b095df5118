"""Check a set of machines before a run: who reaches whom, what differs, how fast they talk.

    srun --nodes=4 --ntasks-per-node=1 python launch/preflight.py --folder work_dirs     in a SLURM allocation
    torchrun --nnodes=2 ... launch/preflight.py                                          elsewhere

Each rank first reaches the rendezvous alone, so that a host that cannot is named with the cause; torchrun has to reach
it itself before any rank starts, and says less. The first ranks of all hosts then reach each other where gloo will
listen. After that: clocks, versions of torch and of this code, whether the folder is shared, free disk, the rates.
"""

import argparse
import socket
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from recognition.cluster.meeting import meet, reach_peers
from recognition.cluster.network import choose_interface
from recognition.cluster.preflight import find_out, measure, problems, table
from recognition.cluster.rendezvous import rendezvous_address
from recognition.command import run_command
from recognition.environment import launched
from recognition.errors import InputError
from recognition.runtime import Runtime, pick_device


def main() -> None:
    """Meet, look, measure; print the table and what is wrong on the main rank."""
    given = parse()
    place = launched()
    if place.world == 1:
        raise InputError("preflight is about several ranks; start it by srun or torchrun, on the machines of the run")
    device = pick_device(given.device, place.local_rank, place.local_world)
    host, port = rendezvous_address()
    hint = choose_interface(host)
    if hint.warning and place.local_rank == 0:
        print(f"note: {socket.gethostname()}: {hint.warning}; give the run --interface {hint.interface}", flush=True)
    store = meet(place, host, port, timeout_s=given.timeout)
    reach_peers(store, place, timeout_s=given.timeout)
    backend = "nccl" if device.type == "cuda" else "gloo"
    wait = timedelta(seconds=given.timeout)
    group_store = dist.PrefixStore("group", store)
    dist.init_process_group(backend, store=group_store, rank=place.rank, world_size=place.world, timeout=wait)
    runtime = Runtime(place.rank, place.world, device, backend, store, given.timeout)
    findings = find_out(given.folder, runtime)
    size_bytes = int(given.mb * 1024**2)
    rates = measure(runtime, size_bytes=size_bytes)
    runtime.barrier()
    dist.destroy_process_group()
    if runtime.is_main:
        print(table(findings, rates, size_bytes=size_bytes), flush=True)
        if found := problems(findings):
            raise InputError("; ".join(found))
        print("fit: every rank reaches every host, and nothing differs")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=64, help="MiB in an all-reduce (default: 64)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for a host (default: 60)")
    parser.add_argument("--folder", type=Path, default=Path("work_dirs"), help="where runs go (default: work_dirs)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
