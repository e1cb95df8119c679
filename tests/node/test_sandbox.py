"""The sandbox of functions in Python: it computes, and does nothing else even for code that slipped through the subset."""

import pytest

from meridian.errors import InvalidInput
from meridian.node.sandbox.lockdown import is_supported
from meridian.node.sandbox.runner import PythonSandbox

pytestmark = pytest.mark.skipif(not is_supported(), reason="the sandbox needs Linux (seccomp)")

REQUEST = {"nodes": ["a"], "jobs": {"node": [0]}, "parameters": {}, "inputs": {"x": None}}
HEAD = "def evaluate(nodes, jobs, parameters, inputs):\n    "
# A way to every module that is loaded, for code that was not checked.
WAY_OUT = "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'catch_warnings'][0]()._module"


def run(body: str, **limits: int) -> object:
    return PythonSandbox(**limits)(HEAD + body, REQUEST)


def test_it_computes() -> None:
    source = "from math import isqrt\n" + HEAD + "return [isqrt(10**40)], jobs['node']"
    assert PythonSandbox()(source, REQUEST) == {"weights": [10**20], "verdicts": [0]}


@pytest.mark.parametrize(
    "escape",
    [
        f"{WAY_OUT}.__builtins__['open']('/etc/hostname').read()",
        f"{WAY_OUT}.sys.modules['posix'].open('/tmp/x', 65)",
        f"{WAY_OUT}.sys.modules['posix'].fork()",
        f"{WAY_OUT}.sys.modules['posix'].execv('/bin/true', ['true'])",
        f"{WAY_OUT}.sys.modules['posix'].kill(1, 0)",
        f"{WAY_OUT}.sys.modules['posix'].urandom(8)",
        f"{WAY_OUT}.sys.modules['time'].sleep(0.01)",
        f"{WAY_OUT}.__builtins__['__import__']('socket')",
    ],
)
def test_every_way_out_ends_the_process(escape: str) -> None:
    """The first step of the way works (else this would show nothing): only the last one is stopped."""
    assert run(f"return [len({WAY_OUT}.__name__)], []") == {"weights": [8], "verdicts": []}
    with pytest.raises(InvalidInput, match="tried something else than computing"):
        run(f"return {escape}, []")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return 1 // 0", "line 2: ZeroDivisionError"),
        ("return open", "line 2: NameError"),
        ("return 3", "TypeError"),
        ("return [0] * (1 << 40), []", "MemoryError"),
        ("return [object], []", "NameError"),
        ("return [evaluate], []", "not JSON serializable"),
        ("return evaluate(nodes, jobs, parameters, inputs)", "RecursionError"),
    ],
)
def test_what_fails_names_line_and_reason(body: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        run(body)


def test_processor_time_is_bounded() -> None:
    with pytest.raises(InvalidInput, match="1 s of processor time"):
        run("return sum(range(10**12)), []", cpu_seconds=1)


def test_hashes_are_the_same_every_time() -> None:
    body = "return [len(str(dict.fromkeys(nodes)))], []"
    assert run(body) == run(body)
