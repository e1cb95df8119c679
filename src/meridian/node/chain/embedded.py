"""The embedded chain: in process for tests and simulations, or as a process that others reach over HTTP.

::

    python -m meridian.node.chain.embedded --db chain.sqlite --port 8545 --chain-id 31337 --alloc 0xaddr,0xaddr=wei

Both are the same ledger and the same methods. As a process it announces itself with one JSON line on stdout,
``{"event": "ready", "url": ...}``, and ends cleanly on SIGTERM or SIGINT. After ``kill -9`` it goes on from the last
block with every transaction that it had accepted.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, MeridianError
from meridian.node.chain.ledger import Ledger
from meridian.node.chain.methods import Methods
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.rules import Header, Rules
from meridian.node.chain.server import serve
from meridian.primitives.ids import Address, parse_address

DEFAULT_BALANCE_ATTO: Final = 10**24
"""What an account of ``--alloc`` gets when no amount is given: a million coins."""

DEFAULT_BLOCK_MS: Final = 50


class EmbeddedChain:
    """A chain in this process, with the interface of `Rpc`.

    With `automine` every accepted transaction whose turn it is stands in a block when the call returns, at the clock's
    time or a second after the last block, whichever is later; so a test moves time by moving its clock.

    Args:
        path: The SQLite file; None keeps the chain in memory.
        chain_id: EIP-155 chain id.
        alloc: Balances of the genesis, in the smallest unit.
        fork: ``cancun`` or ``prague``.
        clock: Returns seconds since the Unix epoch.
        automine: Mine in the sending call; without it, `mine` does.
    """

    def __init__(
        self,
        path: Path | None = None,
        chain_id: int = 31337,
        alloc: Mapping[Address, int] | None = None,
        *,
        fork: str = "prague",
        clock: Callable[[], float] = time.time,
        automine: bool = True,
    ) -> None:
        self._ledger = Ledger(path, Rules(chain_id, fork), alloc or {}, clock)
        self._methods = Methods(self._ledger)
        self._automine = automine

    def call(self, method: str, *params: Any) -> Any:
        """Return a method's result; raises `RpcError`."""
        result = self._methods.run(method, params)
        if self._automine and method == "eth_sendRawTransaction":
            self.mine()
        return result

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return per call its result or its `RpcError`; raw transactions are mined together, at the end."""
        results: list[Any] = []
        sent = False
        for method, params in calls:
            try:
                results.append(self._methods.run(method, params))
            except RpcError as error:
                results.append(error)
            else:
                sent |= method == "eth_sendRawTransaction"
        if sent and self._automine:
            self.mine()
        return results

    def mine(self, *, empty: bool = False) -> Header | None:
        """Mine until nothing that could go into a block waits; `empty` makes a block in any case."""
        header = self._ledger.mine(empty=empty)
        while header is not None and self._ledger.has_work():
            following = self._ledger.mine()
            if following is None:
                break
            header = following
        return header

    @property
    def timestamp_s(self) -> int:
        """The time of the newest block."""
        return int(self._ledger.head.timestamp)

    def close(self) -> None:
        """Close the chain's file."""
        self._ledger.close()


def read_alloc(text: str) -> dict[Address, int]:
    """Read ``0xaddr,0xaddr=wei``; without an amount an account gets a million coins.

    Raises:
        InvalidInput: If it is not of that form.
    """
    alloc: dict[Address, int] = {}
    for part in filter(None, text.split(",")):
        account, _, amount = part.partition("=")
        address = parse_address(account.strip(), "alloc")
        if address in alloc:
            raise InvalidInput("alloc", f"{account} occurs twice")
        if amount and not (amount.isascii() and amount.isdigit() and int(amount) < 2**200):
            raise InvalidInput("alloc", f"{amount!r} is not an amount in the smallest unit")
        alloc[address] = int(amount) if amount else DEFAULT_BALANCE_ATTO
    return alloc


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chain as a process; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m meridian.node.chain.embedded", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--db", type=Path, required=True, help="SQLite file, made when absent")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 = any free one")
    parser.add_argument("--chain-id", type=int, required=True)
    parser.add_argument("--alloc", default="", help="genesis accounts: 0xaddr[=wei],...")
    parser.add_argument("--fork", default="prague", help="cancun or prague")
    parser.add_argument(
        "--block-ms",
        type=int,
        default=DEFAULT_BLOCK_MS,
        help="how long the first waiting transaction waits for others",
    )
    parser.add_argument(
        "--unannounced",
        action="store_true",
        help="write no observe.json beside the file: who only reads leaves nothing behind",
    )
    given = parser.parse_args(arguments)
    try:
        rules = Rules(given.chain_id, given.fork)
        ledger = Ledger(given.db, rules, read_alloc(given.alloc), time.time)
        try:
            serve(
                ledger,
                given.db.parent,
                port=given.port,
                gather_s=max(given.block_ms, 0) / 1000,
                announced=not given.unannounced,
            )
        finally:
            ledger.close()
    except MeridianError as error:
        sys.stderr.write(f"chain: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"chain: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
