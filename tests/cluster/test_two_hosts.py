"""Two hosts with a network of their own between them: training by two torchrun agents, and the preflight."""

import json
import sys

import pytest

from tests.cluster.namespaces import ends, two_hosts
from tests.conftest import CONFIGS, ROOT

CONFIG = CONFIGS / "ms1mv3_mbf.py"
QUICK = ("tiny=True", "val_targets=[]", "export_onnx=False", "using_tensorboard=False", "image_size=32", "max_steps=2")
PORT = 29371
# What Debian writes into /etc/hosts: a machine's own name means a loopback address.
DEBIAN = "127.0.1.1 {own}\n10.77.0.{other} {peer}"


@pytest.fixture
def hosts():
    with two_hosts() as pair:
        yield pair


def debian(hosts):
    """Give both hosts an /etc/hosts by which gloo would choose loopback."""
    for n, host in enumerate(hosts):
        host.knows(DEBIAN.format(own=host.name, other=2 - n, peer=hosts[1 - n].name))


def agents(hosts, folder, *words, interface=None):
    """(exit code, output) of a torchrun agent on each host, one rank each."""
    named = {"GLOO_SOCKET_IFNAME": interface} if interface else {}
    logs, processes = [folder / f"{host.name}.log" for host in hosts], []
    for host, log in zip(hosts, logs):
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nnodes=2",
            "--nproc-per-node=1",
            "--rdzv-backend=c10d",
        ]
        command += [f"--rdzv-endpoint={hosts[0].address}:{PORT}", "--rdzv-id=7", "--max-restarts=0"]
        command += [f"--local-addr={host.address}", "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1", *words]
        processes.append(host.start(*command, log=log, **named))
    return ends(processes, logs, timeout_s=120)


def preflight(hosts, folder, *, timeout_s=60, **variables):
    """(exit code, output) of a preflight rank on each host, started without torchrun."""
    logs, processes = [folder / f"{host.name}.log" for host in hosts], []
    for rank, (host, log) in enumerate(zip(hosts, logs)):
        place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        place |= {"MASTER_ADDR": hosts[0].address, "MASTER_PORT": PORT}
        command = [
            sys.executable,
            ROOT / "launch" / "preflight.py",
            "--mb",
            1,
            "--folder",
            folder,
            "--timeout",
            timeout_s,
        ]
        processes.append(host.start(*command, log=log, **place, **variables))
    return ends(processes, logs, timeout_s=120)


def test_two_hosts_train_over_the_network_between_them(hosts, tmp_path):
    words = (ROOT / "launch" / "train.py", CONFIG, *QUICK, f"output={tmp_path / 'run'}")
    (first, log), (second, other) = agents(hosts, tmp_path, *words, interface="eth0")
    assert (first, second) == (0, 0), log + other
    assert "2 rank(s) on cpu" in log + other
    assert json.loads((tmp_path / "run" / "config.json").read_text())["network"] == "mbf_tiny"
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_preflight_by_torchrun_shows_both_hosts(hosts, tmp_path):
    results = agents(hosts, tmp_path, ROOT / "launch" / "preflight.py", "--mb", 1, "--folder", tmp_path)
    assert [code for code, _ in results] == [0, 0], results
    (log,) = [log for _, log in results if "fit: every rank reaches every host" in log]
    lines = log.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("rank  host"))
    assert sorted(tuple(line.split()[1:4]) for line in lines[head + 1 : head + 3]) == [
        ("first", "eth0", "10.77.0.1"),
        ("second", "eth0", "10.77.0.2"),
    ]
    assert lines[head + 3].startswith("all-reduce of 1 MiB: ")


def test_a_name_that_leads_gloo_to_loopback_is_told_and_mended(hosts, tmp_path):
    debian(hosts)
    (first, log), (second, other) = preflight(hosts, tmp_path)
    assert (first, second) == (0, 0), log + other
    note = "gloo would use lo (127.0.1.1), which leads to no other host; the others are behind eth0 (10.77.0.2)"
    assert f"note: second: by this host's name {note}; give the run --interface eth0" in other
    assert [line.split()[2:4] for line in log.splitlines() if line.startswith("1 ")] == [["eth0", "10.77.0.2"]]


def test_an_interface_that_does_not_reach_the_other_host_is_named_before_anything_hangs(hosts, tmp_path):
    (first, log), (second, other) = preflight(hosts, tmp_path, timeout_s=30, GLOO_SOCKET_IFNAME="lo")
    assert (first, second) == (2, 2), log + other
    assert "second cannot reach 127.0.0.1:" in log
    assert "refused, nothing listens there" in log
    assert "preflight failed at reaching the other hosts; the line of rank 0 says why" in other


def test_a_host_whose_link_is_down_is_named(hosts, tmp_path):
    hosts[1].set_link("down")
    (first, log), (second, other) = preflight(hosts, tmp_path, timeout_s=8)
    assert (first, second) == (2, 2), log + other
    assert "second cannot reach 10.77.0.1:29371: Network is unreachable; is the link up" in other
    assert "arrival: no word from rank 1 within 8 s" in log
