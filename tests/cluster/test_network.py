"""Which interface leads to the others, and when gloo's own choice would not."""

import os
import socket
import time

import pytest

from recognition.cluster import network, reach
from recognition.cluster.network import Hint, choose_interface, interface_addresses, interface_hint, source_address
from recognition.errors import InputError

ADDRESSES = {"lo": "127.0.0.1", "eth0": "10.1.0.5", "ib0": "10.9.0.5", "docker0": "172.17.0.1"}


@pytest.mark.parametrize(
    ("source", "default", "interface"), [("10.9.0.5", "10.9.0.5", "ib0"), ("10.1.0.5", "10.1.0.5", "eth0")]
)
def test_there_is_no_warning_where_gloo_finds_the_way_by_itself(source, default, interface):
    assert interface_hint(ADDRESSES, source=source, default=default) == Hint(interface)


@pytest.mark.parametrize(
    ("default", "words"),
    [
        (
            "127.0.1.1",
            "gloo would use lo (127.0.1.1), which leads to no other host; the others are behind ib0 (10.9.0.5)",
        ),
        ("172.17.0.1", "gloo would use docker0 (172.17.0.1), which leads to no other host"),
        ("10.1.0.5", "gloo would use eth0 (10.1.0.5); the others are behind ib0"),
        ("10.7.7.7", "gloo would use 10.7.7.7, which is no address of this host"),
        (None, "name does not resolve, so gloo would use loopback; the others are behind ib0"),
    ],
)
def test_a_choice_that_leads_elsewhere_is_warned_of(default, words):
    hint = interface_hint(ADDRESSES, source="10.9.0.5", default=default)
    assert hint.interface == "ib0"
    assert words in hint.warning


def test_nothing_is_said_where_no_route_is_known():
    assert interface_hint(ADDRESSES, source=None, default="127.0.1.1") == Hint(None)


def machine(monkeypatch, source, default):
    monkeypatch.setattr(network, "interface_addresses", lambda: ADDRESSES)
    monkeypatch.setattr(network, "source_address", lambda host: source)
    monkeypatch.setattr(network, "gloo_default_address", lambda: default)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "")  # so that the test's end takes away what the test sets
        monkeypatch.delenv(name)


def chosen():
    return os.environ.get("GLOO_SOCKET_IFNAME"), os.environ.get("NCCL_SOCKET_IFNAME")


def test_the_interface_is_set_only_where_gloo_would_be_wrong(monkeypatch):
    machine(monkeypatch, "10.9.0.5", "10.9.0.5")
    assert choose_interface("n1") == Hint("ib0")
    assert chosen() == (None, None)
    machine(monkeypatch, "10.9.0.5", "127.0.1.1")
    assert choose_interface("n1").interface == "ib0"
    assert chosen() == ("ib0", "ib0")


def test_the_choice_of_the_user_stands(monkeypatch):
    machine(monkeypatch, "10.9.0.5", "127.0.1.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    assert choose_interface("n1") == Hint("eth0")
    assert chosen() == ("eth0", None)


def test_ranks_of_one_machine_are_left_alone(monkeypatch):
    machine(monkeypatch, "127.0.0.1", "172.17.0.1")
    assert choose_interface("localhost") == Hint(None)
    assert chosen() == (None, None)


def test_this_machine_has_a_loopback_that_leads_to_itself():
    assert interface_addresses()["lo"] == "127.0.0.1"
    assert source_address("127.0.0.1") == "127.0.0.1"
    assert source_address("no-such-host.invalid") is None


# --- reach ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)
        yield listener


def test_a_host_that_listens_is_reached(listener):
    found = reach.reach("localhost", listener.getsockname()[1], timeout_s=2)
    assert (found.address, found.source) == ("127.0.0.1", "127.0.0.1")


def test_a_refused_connection_says_so_after_the_time_given(listener):
    port = listener.getsockname()[1]
    listener.close()
    began = time.monotonic()
    with pytest.raises(
        InputError, match=rf"{socket.gethostname()} cannot reach 127.0.0.1:{port}: refused, nothing listens"
    ):
        reach.reach("127.0.0.1", port, timeout_s=1)
    assert 0.5 < time.monotonic() - began < 10


def test_a_host_that_listens_late_is_waited_for(monkeypatch, listener):
    port = listener.getsockname()[1]
    real, tries = socket.create_connection, []

    def late(*args, **options):
        tries.append(args)
        if len(tries) < 3:
            raise ConnectionRefusedError(111, "Connection refused")
        return real(*args, **options)

    monkeypatch.setattr(socket, "create_connection", late)
    reach.reach("127.0.0.1", port, timeout_s=20)
    assert len(tries) == 3


def test_a_name_that_does_not_resolve_says_so_at_once():
    began = time.monotonic()
    with pytest.raises(InputError, match="the name 'no-such-host.invalid' does not resolve .*; use an address"):
        reach.reach("no-such-host.invalid", 1, timeout_s=60)
    assert time.monotonic() - began < 30


def test_no_answer_says_firewall(monkeypatch):
    def silent(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    with pytest.raises(InputError, match="no answer; look for a firewall"):
        reach.reach("127.0.0.1", 1, timeout_s=0.1)


def test_a_name_that_means_the_wrong_machine_is_found_out(monkeypatch):
    monkeypatch.setattr(reach, "source_address", lambda host: "127.0.0.1")
    assert "the name 'n1' means this machine itself here" in reach.misleading_address("n1", 8, 8)
    assert reach.misleading_address("n1", 7, 8) is None
    monkeypatch.setattr(reach, "source_address", lambda host: "10.1.0.6")
    assert reach.misleading_address("n1", 8, 8) is None
