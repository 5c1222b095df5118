"""SLURM's short forms, against lists written out by hand."""

import pytest

from recognition.cluster.hosts import parse_hosts, parse_task_counts
from recognition.errors import InputError


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("m1", "m1"),
        ("n[01-03,7],m1", "n01 n02 n03 n7 m1"),
        ("n[9-11]", "n9 n10 n11"),
        ("n[09-11]", "n09 n10 n11"),
        ("n[099-101]", "n099 n100 n101"),
        ("gpu-a[3],gpu-b[1-2]", "gpu-a3 gpu-b1 gpu-b2"),
        ("r[1-2]n[0-1]", "r1n0 r1n1 r2n0 r2n1"),
        ("n[1-2]-ib.site.org", "n1-ib.site.org n2-ib.site.org"),
        ("10.0.0.[1-2]", "10.0.0.1 10.0.0.2"),
        ("b,a", "b a"),
    ],
)
def test_host_lists_are_written_out_in_order(text, hosts):
    assert parse_hosts(text) == hosts.split()


@pytest.mark.parametrize(
    "text", ["", " ", ",", "a,", "a b", "n[1-2", "n1-2]", "n[2-1]", "n[]", "n[a-b]", "n[1-]", "n[,]"]
)
def test_a_host_list_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match="cannot be read"):
        parse_hosts(text)


@pytest.mark.parametrize(
    ("text", "counts"), [("8", [8]), ("8(x2),4", [8, 8, 4]), ("1,2(x3),1", [1, 2, 2, 2, 1]), ("4(x1)", [4])]
)
def test_task_counts_are_written_out(text, counts):
    assert parse_task_counts(text) == counts


@pytest.mark.parametrize("text", ["", "8(x2", "8x2", "a", "8,,4"])
def test_task_counts_that_cannot_be_read_are_refused(text):
    with pytest.raises(InputError, match="cannot be read"):
        parse_task_counts(text)
