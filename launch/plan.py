"""Memory and speed of a training run before you rent the machines.

    python launch/plan.py CONFIG [key=value ...] --gpus 8 --gpu h200
    python launch/plan.py --identities 10000000 --network r50 --gpus 8 --gpu a100-80

What a rank holds by part, what it sends and computes, what bounds the step, whether it fits, and what to set: all
estimates, nothing is run. Without CONFIG, keys have the defaults of configs/base.py, and a sample rate is recommended.
"""

import argparse
import dataclasses
from typing import Any

from recognition.command import run_command
from recognition.config import load_config
from recognition.errors import InputError
from recognition.planning.advice import RATES, advise, plan, plan_peer
from recognition.planning.machines import LINKS, find_machine, machine_names, pick_link
from recognition.planning.peers import PEERS
from recognition.planning.report import plan_json, plan_text, recommendation_text
from recognition.planning.setting import CENTERS, MODES, OPERANDS, OPTIMIZERS, PRECISIONS, Setting, setting_of
from recognition.planning.speed import peer_speed_of, speed_of

# Flags that say the same as a key of Setting: the flag wins over CONFIG.
FLAGS: dict[str, dict[str, Any]] = {
    "identities": {"type": int, "help": "classes of the training set"},
    "network": {"help": "backbone, by the name in configs/base.py (default: r50)"},
    "batch": {"type": int, "help": "images per rank (default: 128)"},
    "sample-rate": {"type": float, "help": "share of the class centres in a step (default: 1)"},
    "optimizer": {"choices": OPTIMIZERS},
    "precision": {"choices": PRECISIONS, "help": "of the backbone"},
    "gradient-checkpointing": {"action": "store_true", "default": None},
    "embedding-size": {"type": int},
    "image-size": {"type": int},
    "subcenters": {"type": int},
    "centers": {"choices": CENTERS, "help": "where class centres are kept"},
    "mode": {"choices": MODES, "help": "head: keep what the first sweep computed, or recompute it"},
    "operands": {"choices": OPERANDS, "help": "number format of the head's products"},
}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="config file, e.g. configs/glint360k_r50.py")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. batch_size=64")
    parser.add_argument("--gpus", type=int, default=1, help="ranks, one for each GPU (default: 1)")
    parser.add_argument("--gpu", default="h200", help=f"{', '.join(machine_names())} (default: h200)")
    parser.add_argument("--memory-gb", type=float, help="memory of a rank, instead of the usual")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="beyond it: InfiniBand (default: 8)")
    parser.add_argument("--link", choices=["nvlink", *LINKS], help="slowest link between ranks (default: by GPU)")
    parser.add_argument("--system", choices=["arcscale", *PEERS], default="arcscale", help="whose head (default: ours)")
    parser.add_argument("--json", action="store_true", help="for programs: bytes, seconds, FLOP")
    for name, options in FLAGS.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_intermixed_args()


def wished(arguments: argparse.Namespace) -> Setting:
    """The setting of the config, overlaid with the flags."""
    names = [name.replace("-", "_") for name in FLAGS]
    flags = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.config is not None:
        cfg = load_config(arguments.config, arguments.overrides)
        setting = setting_of(cfg, ranks=arguments.gpus, identities=arguments.identities)
        return dataclasses.replace(setting, **flags)
    if arguments.identities is None:
        raise InputError("how many identities? Name a config file, or say --identities N")
    return Setting(ranks=arguments.gpus, **flags)


def main() -> None:
    """Plan and print."""
    arguments = parse()
    setting, system = wished(arguments), arguments.system
    machine = find_machine(arguments.gpu, memory_gb=arguments.memory_gb, ranks=arguments.gpus)
    link = pick_link(machine, arguments.link, ranks=arguments.gpus, ranks_a_node=arguments.gpus_per_node)
    advice = best_speed = None
    if system in PEERS:
        found = plan_peer(setting, machine, PEERS[system], link=link)
        speed = peer_speed_of(setting, found.trace, machine, PEERS[system], link=link)
    else:
        found = plan(setting, machine, link=link)
        speed = speed_of(setting, found.trace, machine, link=link)
        free = arguments.config is None and arguments.sample_rate is None
        advice = advise(found, rates=RATES if free else ())
        if advice.recommended:
            best = advice.recommended
            best_speed = speed_of(best.setting, best.trace, machine, link=link)
    if arguments.json:
        print(plan_json(found, speed, advice, system=system, best_speed=best_speed), end="")
    else:
        print(plan_text(found, speed, advice, system=system))
    if best_speed and not arguments.json:
        print("\n" + recommendation_text(best, best_speed, advice.reasons))


if __name__ == "__main__":
    run_command(main)
