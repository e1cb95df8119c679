"""`meridian` with the given arguments, ended by SIGKILL when its first transaction has reached the chain."""

import os
import signal
from collections.abc import Sequence
from typing import Any

from meridian.cli.main import main
from meridian.node.chain.rpc import Rpc

_BATCH = Rpc.batch


def batch(rpc: Rpc, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    result = _BATCH(rpc, calls)
    if any(method == "eth_sendRawTransaction" for method, _ in calls):
        os.kill(os.getpid(), signal.SIGKILL)
    return result


if __name__ == "__main__":
    Rpc.batch = batch  # type: ignore[method-assign]
    main()
