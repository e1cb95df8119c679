"""A process that pays for numbered purposes from one key, and can end itself with SIGKILL at a named step.

``python paying_process.py URL SECRET JOURNAL COUNT [STEP NTH]``: STEP is a place in the life of a transaction at which
the process kills itself when it comes there for the NTH time. It prints one line for each purpose that is sent.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from meridian.node.chain.journal import SenderJournal
from meridian.node.chain.rpc import Rpc, RpcUnavailable
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

SINK = Address(b"\x77" * 20)
STEPS = ("before-sign", "after-sign", "before-send", "after-send", "before-settle", "after-settle")


def die_at(step: str, nth: int) -> None:
    """Arrange the process's own end: the nth time that it comes to a step."""
    left = [nth]

    def here(name: str) -> None:
        if name == step:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: type, name: str, before: str, after: str, when: Any = None) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            counts = when is None or when(*args)
            if counts:
                here(before)
            result = real(*args, **kwargs)
            if counts:
                here(after)
            return result

        setattr(owner, name, wrapped)

    def sends(_: Rpc, calls: Any) -> bool:
        return any(method == "eth_sendRawTransaction" for method, _ in calls)

    around(SenderJournal, "sign", "before-sign", "after-sign")
    around(Rpc, "batch", "before-send", "after-send", sends)
    around(SenderJournal, "settle", "before-settle", "after-settle")


def main() -> None:
    url, secret, journal, count = sys.argv[1:5]
    if len(sys.argv) > 5:
        die_at(sys.argv[5], int(sys.argv[6]))
    sender = Sender(Rpc(url, timeout_s=10), PrivateKey(bytes.fromhex(secret)), Path(journal))
    hashes = []
    deadline = time.monotonic() + 60
    for turn in range(int(count)):
        while True:
            try:
                hashes.append(sender.submit(SINK, b"", 1, purpose=f"pay {turn}"))
                break
            except RpcUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        print(turn, flush=True)
        time.sleep(0.01)
    assert all(one.status == 1 for one in sender.wait_all(hashes, 60))


if __name__ == "__main__":
    main()
