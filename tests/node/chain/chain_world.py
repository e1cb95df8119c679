"""What the chain tests share: a small contract to probe with, a clock to move, and the chain as a process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meridian.node.chain.rpc import Rpc
from meridian.primitives.ids import Address, address_text

CHAIN_ID = 31337
COIN = 10**18

PROBE = """
# pragma evm-version cancun
struct Pair:
    account: address
    tag: bytes24

interface Self:
    def burn(): nonpayable
    def deep(levels: uint256): nonpayable

event Added:
    who: indexed(address)
    amount: uint256
    total: uint256

event Tried:
    done: bool

total: public(uint256)
filled: HashMap[uint256, uint256]
owner: public(address)

@deploy
def __init__(owner: address):
    self.owner = owner

@external
@payable
def add(amount: uint256):
    assert amount != 13, "probe: unlucky"
    self.total += amount
    log Added(who=msg.sender, amount=amount, total=self.total)

@external
def emit_many(n: uint256):
    for i: uint256 in range(n, bound=10000):
        log Added(who=msg.sender, amount=i, total=n)

@external
def plain_refusal():
    assert self.total == max_value(uint256)

@external
@view
def now() -> (uint256, uint256):
    return block.timestamp, block.number

@external
@view
def ancestor(number: uint256) -> bytes32:
    return blockhash(number)

@external
@view
def echo(pairs: DynArray[Pair, 4], flag: bool = True) -> (DynArray[Pair, 4], bool):
    return pairs, flag

@external
def fill(first: uint256, count: uint256):
    for i: uint256 in range(count, bound=1000):
        self.filled[first + i] = 1

@external
def clear(first: uint256, count: uint256):
    for i: uint256 in range(count, bound=1000):
        self.filled[first + i] = 0

@external
def deep(levels: uint256):
    if levels > 0:
        extcall Self(self).deep(levels - 1)
    else:
        self.total += 1

@external
def burn():
    self._spin()

@internal
def _spin():
    for i: uint256 in range(1000000):
        self.total = i

@external
def survive():
    done: bool = raw_call(self, method_id("burn()"), gas=60000, revert_on_failure=False)
    log Tried(done=done)
"""


@dataclass(frozen=True)
class Artefact:
    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes


@dataclass
class Clock:
    now_s: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class NodeProcess:
    """The chain as a process of its own."""

    db: Path
    accounts: list[Address]
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def start(self, *extra: str, port: int = 0) -> "NodeProcess":
        command = [sys.executable, "-m", "meridian.node.chain.embedded", "--db", str(self.db)]
        command += ["--port", str(port), "--chain-id", str(CHAIN_ID)]
        command += ["--alloc", ",".join(address_text(one) for one in self.accounts), *extra]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the node ended before it was ready"
        ready = json.loads(line)
        assert ready["event"] == "ready"
        self.url = ready["url"]
        return self

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=10)
        self._close()
        return code

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def rpc(self) -> Rpc:
        return Rpc(self.url)
