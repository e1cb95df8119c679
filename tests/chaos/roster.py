"""The committee of a chaos run: keys, epochs and rows, all of them functions of the seed and the configuration.

Every process of a run (nodes, hostile nodes, checker) derives the same from the same file, so nothing is exchanged
but what the protocol itself exchanges.
"""

import hashlib
import time
from pathlib import Path
from typing import Final

import msgspec

from meridian.ephemera.context import Context
from meridian.ephemera.limits import Limits, Timing
from meridian.node.link_connection import LinkLimits
from meridian.node.link_identity import LinkIdentity, link_identity
from meridian.node.links import Peer
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

KIB: Final = 1024
OPEN_EPOCHS_MAX: Final = 16
"""Epochs that a node holds open, decided or not, lowest first; as an evaluator does."""
OPEN_DECIDED: Final = 4
"""Decided epochs that a node leaves open; older ones are answered for from its archive."""


class RunConfig(msgspec.Struct, frozen=True):
    """What all processes of a run know."""

    seed: int
    endpoints: tuple[tuple[str, int], ...]
    """Host and port of every member, in the order of the members."""
    genesis_ms: int
    """Wall clock at the begin of epoch 0, in milliseconds since 1970."""
    genesis_monotonic_s: float
    """The same moment on the monotonic clock of the machine, which no fault touches."""
    epoch_ms: int
    keep_epochs: int
    """Epochs that are kept for members that catch up; who was away for longer has lost them."""
    directory: str

    @staticmethod
    def load(path: Path) -> "RunConfig":
        """Read the file that the programme wrote."""
        return msgspec.json.decode(path.read_bytes(), type=RunConfig)

    @property
    def n(self) -> int:
        """Members."""
        return len(self.endpoints)

    def results(self, number: int) -> Path:
        """Where a node writes what it decided."""
        return Path(self.directory) / f"results-{number}.jsonl"

    def statements(self, number: int) -> Path:
        """Where a node writes what it signed, before it sends it."""
        return Path(self.directory) / f"statements-{number}.jsonl"

    def home(self, number: int) -> Path:
        """The data directory of a node: what its disk holds."""
        return Path(self.directory) / f"disk-{number}" / "data"

    def epoch_by_wall_clock(self) -> int:
        """The running epoch as this process's clock has it; negative before the first."""
        return (time.time_ns() // 1_000_000 - self.genesis_ms) // self.epoch_ms

    def epoch_at(self, monotonic_s: float) -> int:
        """The epoch that runs at a true moment."""
        return int((monotonic_s - self.genesis_monotonic_s) * 1000 // self.epoch_ms)

    def opens_at_s(self, epoch: int) -> float:
        """The true moment at which an epoch begins."""
        return self.genesis_monotonic_s + epoch * self.epoch_ms / 1000


class Committee:
    """The members of a run."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        secret = [f"meridian chaos {config.seed} member {i}".encode() for i in range(config.n)]
        keys = [PrivateKey(hashlib.sha256(b"key " + s).digest()) for s in secret]
        self.keys = tuple(sorted(keys, key=lambda key: key.address))
        self.members: tuple[Address, ...] = tuple(key.address for key in self.keys)
        self.identities: tuple[LinkIdentity, ...] = tuple(
            link_identity(hashlib.sha256(b"link " + s).digest()) for s in secret
        )
        self.network = hashlib.sha256(f"meridian chaos {config.seed}".encode()).digest()
        self.domain = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))

    def context(self, epoch: int) -> Context:
        """The context of an epoch; the members are always the same."""
        return Context(self.domain, self.network, epoch, self.members)

    def peers(self) -> list[Peer]:
        """The members as links know them."""
        return [
            Peer(self.members[i], self.identities[i].link_key, host, port)
            for i, (host, port) in enumerate(self.config.endpoints)
        ]


TIMING: Final = Timing(
    row_ms=200,
    reveal_ms=50,
    have_ms=200,
    fill_ms=1_000,
    grace_ms=50,
    view_ms=2_000,
    view_max_ms=8_000,
    resend_ms=300,
    fetch_ms=500,
)
LIMITS: Final = Limits(
    epochs_max=OPEN_EPOCHS_MAX, piece_bytes=256 * KIB, closed_cache_bytes_max=4096 * KIB
)
"""As a network's, but for a small cache of closed epochs: it is full soon, and what grows after that is a leak."""
LINK_LIMITS: Final = LinkLimits(
    ping_ms=1_000,
    dead_ms=4_000,
    handshake_ms=3_000,
    reconnect_first_ms=100,
    reconnect_max_ms=1_000,
    stable_ms=2_000,
)
"""Shorter times than a network's, so that a partition is noticed within an epoch or two."""


def row_body(epoch: int, member: Address, variant: int = 0) -> bytes:
    """The row of a member for an epoch: mostly some KiB, one in eight 64 KiB, one in fifty more than one piece.

    Args:
        epoch: The epoch.
        member: Its author.
        variant: 0 for the only row of a correct member; hostile members have others too.
    """
    head = Writer().u64(epoch).fixed(member, 20).u8(variant).bytes()
    lot = int.from_bytes(hashlib.sha256(b"size" + head).digest()[:4], "big")
    size = (1 + lot % 8) * KIB
    if lot % 50 == 0:
        size = 600 * KIB
    elif lot % 8 == 0:
        size = 64 * KIB
    return head + hashlib.shake_128(b"row" + head).digest(size)


class Rows:
    """The application: a row is acceptable if it is what its author must say for that epoch, byte by byte."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """See `meridian.ephemera.application.Application`."""
        if len(body) < 29:
            return "too short"
        reader = Reader(body[:29])
        if (reader.u64(), reader.fixed(20)) != (epoch, member):
            return "of another epoch or member"
        return None if body == row_body(epoch, member, reader.u8()) else "wrong content"
