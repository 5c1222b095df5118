"""The forked processes of the fuzz: whatever a case does to its own, the others are run and it is named."""

import os
import re
import signal
import time

import pytest

from tests.fuzz.processes import run_cases

SPARE_BYTES = 64 << 20
ENDS = {
    "leaves": (lambda: os._exit(0), "the process ended with 0"),
    "exits": (lambda: os._exit(3), "the process ended with 3"),
    "is killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "the process ended with -9"),
    "raises": (lambda: 1 // 0, "(?s)the process ended with 1: Traceback.*ZeroDivisionError"),
    "hangs": (lambda: time.sleep(600), "(?s)the process ended with 1: Timeout.*test_processes.py"),
    "eats": (lambda: len(bytes(1 << 30)), "(?s)the process ended with 1: Traceback.*MemoryError"),
}


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("end", ENDS)
def test_a_case_that_ends_its_process_is_named_and_the_others_are_run(end, jobs):
    how, words = ENDS[end]
    bad, case_s = ((104,), 2.0) if end == "hangs" else ((104, 109), 60.0)

    def case(number):
        if number in bad:
            how()
        return {"twice": 2 * number}

    results = list(run_cases(case, range(100, 110), jobs=jobs, spare_bytes=SPARE_BYTES, case_s=case_s))
    assert sorted(number for number, _ in results) == list(range(100, 110))
    for number, result in results:
        if number in bad:
            assert isinstance(result, str)
            assert re.search(words, result), result
        else:
            assert result == {"twice": 2 * number}
