"""How a network's contracts are deployed.

They name each other, and nothing about them can be changed later, so the order is fixed: Registry, Commitments,
Evaluations, Rewards, then those that judge. The first ones are told the addresses that later ones are going to have,
and a later one refuses to exist if it was not told of. An account's next contracts have known addresses, so one sender
in one go is all it takes.

A network without disputes has the first four only and the zero address for Disputes: nobody can void a report, or
take a stake. That is for simulations and for the time before real money.
"""

from dataclasses import dataclass
from typing import Final

from meridian.contracts.artefact import JUDGES, NAMES
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import ZERO_ADDRESS, Address

NEVER_S: Final = 1 << 32
"""The greatest delay that the contracts take, 136 years."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a version of the schedule says besides function and parameters."""

    rule: int = 0
    """How a contract recomputes a node's weight: 0 not at all, 1 number of jobs, 2 and 3 the first and second sum of
    64 bits in the annotation, 4 its one sum of 128 bits."""
    evaluators_ppm: int = 0
    """The evaluators' own share of an epoch's budget, millionths."""
    aggregators_ppm: int = 0
    """The aggregators' own share, millionths; both together at most a million."""
    committee_size: int = 0
    """The greatest number of an epoch's members, at most 128; 0: no limit."""
    committee_stake_min_atto: int = 0
    """The least stake of a member, below 2^96."""

    @property
    def arguments(self) -> tuple[int, int, int, int, int]:
        """The contract's struct."""
        return (
            self.rule,
            self.evaluators_ppm,
            self.aggregators_ppm,
            self.committee_size,
            self.committee_stake_min_atto,
        )


@dataclass(frozen=True, slots=True)
class DisputeTerms:
    """What a network with disputes fixes besides."""

    bond_atto: int
    """What a challenge or an escalation locks."""
    response_seconds: int
    """How long a challenged aggregator may take to answer."""
    burn_ppm: int
    """The part of a taken stake that is burned, millionths."""
    burn_address: Address
    referees: tuple[Address, ...]
    """At most 32 accounts."""
    referee_stake_min_atto: int
    voting_seconds: int
    """How long the referees may take for a verdict."""


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
    report_seconds: int = NEVER_S
    """From an epoch's end until anybody may have it abandoned, if it has no report."""
    terms: Terms = Terms()
    """Of the schedule's first version."""
    disputes: DisputeTerms | None = None
    """None: a network without disputes."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a network's contracts are."""

    registry: Address
    commitments: Address
    evaluations: Address
    rewards: Address
    disputes: Address = ZERO_ADDRESS
    commitment_proofs: Address = ZERO_ADDRESS
    report_proofs: Address = ZERO_ADDRESS
    referees: Address = ZERO_ADDRESS


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
    """Return the addresses and the steps, for a sender whose next transaction has `nonce`.

    The steps must be that sender's next transactions, in order and without others between: four, or eight with disputes.
    """
    p = parameters
    names = NAMES if p.disputes is None else NAMES + JUDGES
    places = [created_address(sender, nonce + step) for step in range(len(names))]
    addresses = Addresses(*places)
    registry, commitments, evaluations, rewards = places[: len(NAMES)]
    disputes = addresses.disputes
    arguments: list[tuple[object, ...]] = [
        (
            p.network,
            p.genesis_s,
            p.epoch_seconds,
            p.first_epoch,
            p.node_stake_min_atto,
            p.evaluator_stake_min_atto,
            p.exit_delay_s,
            evaluations,
            disputes,
        ),
        (
            registry,
            disputes,
            list(p.aggregators),
            p.aggregator_stake_min_atto,
            p.sealing_seconds,
        ),
        (
            registry,
            commitments,
            rewards,
            disputes,
            p.owner,
            p.challenge_seconds,
            p.report_seconds,
            p.function_digest,
            p.parameters_digest,
            p.terms.arguments,
        ),
        (registry, evaluations, disputes),
    ]
    if p.disputes is not None:
        arguments += _dispute_arguments(addresses, p.disputes)
    steps = tuple(
        Step(name, values, address)
        for name, values, address in zip(names, arguments, places, strict=True)
    )
    return addresses, steps


def _dispute_arguments(at: Addresses, terms: DisputeTerms) -> list[tuple[object, ...]]:
    return [
        (
            at.registry,
            at.commitments,
            at.evaluations,
            at.rewards,
            at.commitment_proofs,
            at.report_proofs,
            at.referees,
            terms.bond_atto,
            terms.response_seconds,
            terms.burn_ppm,
            terms.burn_address,
        ),
        (at.disputes,),
        (at.disputes,),
        (
            at.disputes,
            list(terms.referees),
            terms.referee_stake_min_atto,
            terms.voting_seconds,
        ),
    ]
