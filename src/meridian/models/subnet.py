"""The model `subnet`: jobs on a child chain, whose checkpoints q validators sign for the parent chain.

A checkpoint says what a block of the child holds, and carries the roots of two claim trees with cumulative amounts: what
accounts have earned, and the stake that they gave back. The law: from the checkpoint before, the child's state at a block
and an epoch's budget there follows exactly one next checkpoint; so validators compute it themselves and sign no other.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.models.plain_sums import shares
from meridian.primitives.eip712 import Domain, StructType, digest, keccak
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import ClaimsState

CHECKPOINT: Final = StructType(
    "Checkpoint",
    (
        ("number", "uint64"),
        ("settled", "uint64"),
        ("height", "uint64"),
        ("blockHash", "bytes32"),
        ("jobs", "uint64"),
        ("weight", "uint128"),
        ("budget", "uint128"),
        ("rewardRoot", "bytes32"),
        ("rewardTotal", "uint128"),
        ("minted", "uint64"),
        ("releaseRoot", "bytes32"),
        ("releaseTotal", "uint128"),
        ("previous", "bytes32"),
    ),
)
MINT: Final = StructType(
    "Mint",
    (
        ("first", "uint64"),
        ("deposits", "bytes32"),
    ),
)
VALIDATORS: Final = StructType(
    "Validators",
    (
        ("number", "uint64"),
        ("validators", "bytes32"),
    ),
)
NO_CHECKPOINT: Final = bytes(32)
"""What stands for the checkpoint before the first."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What validators sign in the domain of SubnetGateway; fields in the contract's order."""

    number: int
    """From 1, without gaps."""
    settled: int
    """How many epochs are settled, this checkpoint's too."""
    height: int
    """Of the child's block that it is about."""
    block_hash: bytes
    jobs: int
    """Of the epoch that it settles; 0 if it settles none, as with `weight` and `budget`."""
    weight: int
    budget: int
    """What the epoch pays, atto."""
    reward_root: bytes
    reward_total: int
    """All that was ever earned, atto."""
    minted: int
    """How many deposits are on the child."""
    release_root: bytes
    release_total: int
    """All stake that was ever given back, atto."""
    previous: bytes
    """Digest of the checkpoint before."""

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The contract's struct."""
        return astuple(self)

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that a validator signs."""
        return digest(domain, CHECKPOINT.hash(*self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A checkpoint as the parent took it."""

    checkpoint: Checkpoint
    digest: bytes
    """That the gateway logged."""
    signers: tuple[Address, ...]
    transmitter: Address
    gas_used: int


@dataclass(frozen=True, slots=True)
class Deposit:
    """Stake that came from the parent, in the order of its numbers."""

    account: Address
    amount: int


def mint_digest(domain: Domain, first: int, deposits: list[Deposit]) -> bytes:
    """Return what a validator signs when it saw these deposits on the parent; in the domain of the child's Subnet.

    The struct binds the Keccak-256 of the ABI encoding of the list.
    """
    words = [32, len(deposits)]
    for one in deposits:
        words += [int.from_bytes(one.account, "big"), one.amount]
    encoding = b"".join(word.to_bytes(32, "big") for word in words)
    return digest(domain, MINT.hash(first, keccak(encoding)))


def validators_digest(domain: Domain, number: int, validators: list[Address]) -> bytes:
    """Return what a validator signs when the parent's Registry has other members."""
    words = [32, len(validators), *(int.from_bytes(one, "big") for one in validators)]
    encoding = b"".join(word.to_bytes(32, "big") for word in words)
    return digest(domain, VALIDATORS.hash(number, keccak(encoding)))


def account_key(account: Address) -> NodeKey:
    """Return the key under which an account stands in both trees."""
    return NodeKey(bytes(12) + account)


@dataclass(frozen=True, slots=True)
class Books:
    """What stands behind a checkpoint's roots."""

    rewards: ClaimsState
    releases: ClaimsState

    @classmethod
    def empty(cls) -> "Books":
        """Return the books before the first checkpoint."""
        return cls(ClaimsState.empty(), ClaimsState.empty())


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledEpoch:
    """The epoch that a checkpoint settles, as the child's contract has it at the checkpoint's block."""

    jobs: int
    total: int
    weights: Mapping[Address, int]
    """Of every account with stake; others cannot report."""
    budget: int
    """What the parent pays for it, atto."""

    def amounts(self) -> dict[Address, int]:
        """Return each account's share of the budget, rounded down."""
        accounts = sorted(account for account, weight in self.weights.items() if weight)
        values = shares([self.weights[account] for account in accounts], self.budget)
        return dict(zip(accounts, values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildState:
    """What a checkpoint says of the child, as it stands at a block."""

    height: int
    block_hash: bytes
    minted: int
    released: Mapping[Address, int]
    """Account -> all that it gave back, atto."""
    epoch: SettledEpoch | None = None
    """None: the checkpoint settles no epoch."""


def next_checkpoint(
    before: Checkpoint | None, previous: bytes, books: Books, state: ChildState
) -> tuple[Checkpoint, Books]:
    """Return the checkpoint that follows, and the books behind it.

    Args:
        before: The last one; None of none.
        previous: Its digest, or `NO_CHECKPOINT`.
        books: Behind it.
        state: The child's.

    Raises:
        InvalidInput: If the child's sums do not fit each other.
    """
    epoch = state.epoch
    rewards = books.rewards
    if epoch is not None:
        if sum(epoch.weights.values()) != epoch.total:
            raise InvalidInput("weights", f"they do not add up to {epoch.total}")
        rewards = rewards.advance(
            {account_key(one): (one, atto) for one, atto in epoch.amounts().items()}
        )
    releases = ClaimsState.empty().advance(
        {account_key(one): (one, atto) for one, atto in state.released.items()}
    )
    settled = (before.settled if before else 0) + (epoch is not None)
    checkpoint = Checkpoint(
        number=(before.number if before else 0) + 1,
        settled=settled,
        height=state.height,
        block_hash=state.block_hash,
        jobs=epoch.jobs if epoch else 0,
        weight=epoch.total if epoch else 0,
        budget=epoch.budget if epoch else 0,
        reward_root=_root(rewards),
        reward_total=rewards.total,
        minted=state.minted,
        release_root=_root(releases),
        release_total=releases.total,
        previous=previous,
    )
    return checkpoint, Books(rewards, releases)


def _root(claims: ClaimsState) -> bytes:
    """Return a tree's root; zeros of an empty one, under which nothing can be proved."""
    return claims.reward_root if claims.claims else bytes(32)
