"""A process that keeps what it frees takes the pages of a buffer once, in its threads too."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys, threading
from meridian.node.measure.fresh_memory import keep_freed

if sys.argv[1] == "kept":
    print(keep_freed())

def work():
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        buffers = [bytearray(b"x") * (1 << 20) for _ in range(20)]
        del buffers
        faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

faults = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(sum(faults[3:]))
"""


def _faults(how: str) -> tuple[list[str], int]:
    out = subprocess.run(
        [sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, check=True
    ).stdout.split()
    return out[:-1], int(out[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is meant")
def test_freed_memory_is_not_taken_anew() -> None:
    _, before = _faults("given back")
    said, kept = _faults("kept")
    if said == ["False"]:
        pytest.skip("this C library has no mallopt")
    assert kept * 10 < before
