"""How a network's four contracts are deployed.

They name each other, and nothing about them can be changed later, so the order is fixed: Registry, Commitments,
Evaluations, Rewards. Evaluations is told the address that Rewards is going to have, and Rewards refuses to exist
anywhere else. An account's next contracts have known addresses, so one sender in one go is all it takes.
"""

from dataclasses import dataclass

from meridian.contracts.artefact import NAMES
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import ZERO_ADDRESS, Address


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a network fixes for good when it is deployed."""

    network: bytes
    genesis_s: int
    """When the first epoch starts, seconds since the Unix epoch."""
    epoch_seconds: int
    first_epoch: int
    node_stake_min_atto: int
    evaluator_stake_min_atto: int
    exit_delay_s: int
    aggregators: tuple[Address, ...]
    """At most 8 accounts."""
    challenge_seconds: int
    function_digest: bytes
    parameters_digest: bytes
    aggregator_stake_min_atto: int = 0
    """0: all listed aggregators are active from the first epoch on, without a stake."""
    sealing_seconds: int = 0
    """How long after its end an epoch waits for nodes that commit themselves; 0: they cannot."""
    owner: Address = ZERO_ADDRESS
    """Who may schedule other functions for epochs to come; the zero address: nobody."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a network's contracts are."""

    registry: Address
    commitments: Address
    evaluations: Address
    rewards: Address


@dataclass(frozen=True, slots=True)
class Step:
    """One creating transaction: the contract's name, the constructor's arguments, where it will be."""

    name: str
    arguments: tuple[object, ...]
    address: Address


def created_address(sender: Address, nonce: int) -> Address:
    """Return the address of the contract that `sender` creates with transaction `nonce`.

    The last 20 bytes of Keccak-256 of RLP([sender, nonce]); source: yellow paper, section 7.

    Raises:
        InvalidInput: If the nonce is outside 64 bits (EIP-2681).
    """
    if not 0 <= nonce < 1 << 64:
        raise InvalidInput("nonce", f"{nonce} is outside 64 bits")
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = digits if 0 < nonce < 0x80 else bytes((0x80 + len(digits),)) + digits
    payload = bytes((0x80 + len(sender),)) + sender + item
    return Address(keccak(bytes((0xC0 + len(payload),)) + payload)[12:])


def plan(parameters: Parameters, sender: Address, nonce: int) -> tuple[Addresses, tuple[Step, ...]]:
    """Return the addresses and the four steps, for a sender whose next transaction has `nonce`.

    The steps must be that sender's next four transactions, in order and without others between.
    """
    registry, commitments, evaluations, rewards = (
        created_address(sender, nonce + step) for step in range(len(NAMES))
    )
    p = parameters
    arguments: tuple[tuple[object, ...], ...] = (
        (
            p.network,
            p.genesis_s,
            p.epoch_seconds,
            p.first_epoch,
            p.node_stake_min_atto,
            p.evaluator_stake_min_atto,
            p.exit_delay_s,
        ),
        (
            registry,
            ZERO_ADDRESS,
            list(p.aggregators),
            p.aggregator_stake_min_atto,
            p.sealing_seconds,
        ),
        (
            registry,
            commitments,
            rewards,
            p.owner,
            p.challenge_seconds,
            p.function_digest,
            p.parameters_digest,
        ),
        (registry, evaluations),
    )
    addresses = Addresses(registry, commitments, evaluations, rewards)
    places = (registry, commitments, evaluations, rewards)
    steps = tuple(
        Step(name, values, address)
        for name, values, address in zip(NAMES, arguments, places, strict=True)
    )
    return addresses, steps
