"""Epochs for the committee's tests: headers, members and rows made directly, without jobs."""

from collections.abc import Mapping, Sequence

from meridian.committee.settlement import EpochTerms, Proposal, Settlement
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.reward.outcome import MemberRow

KEYS = sorted((PrivateKey(bytes([i]) * 32) for i in range(1, 5)), key=lambda key: key.address)
MEMBERS = tuple(key.address for key in KEYS)
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))
PARAMETERS = EvaluationParameters()
BUDGET = 1_000


def payee(name: str) -> Address:
    return Address(node_key(name)[:20])


def header_of(epoch: int, **other: bytes) -> RowHeader:
    values: dict[str, bytes] = {
        "network": network_id("testnet"),
        "commitment": bytes([epoch]) * 32,
        "function": b"\xf0" * 32,
        "parameters": PARAMETERS.digest,
        "inputs_root": b"\x0f" * 32,
    }
    return RowHeader(epoch=epoch, **(values | other))


def body_of(header: RowHeader, weights: Mapping[str, int | None]) -> bytes:
    pairs = sorted((node_key(name), weight) for name, weight in weights.items())
    keys, values = tuple(key for key, _ in pairs), tuple(weight for _, weight in pairs)
    return Row(header, bytes([header.epoch]) * 32, keys, values).encode()


def terms_of(epoch: int, names: Sequence[str], budget: int = BUDGET) -> EpochTerms:
    return EpochTerms(
        header=header_of(epoch),
        members=MEMBERS,
        parameters=PARAMETERS,
        budget_atto=budget,
        payees={NodeKey(node_key(name)): payee(name) for name in names},
    )


def rows_of(
    epoch: int, weights: Mapping[str, int | None], members: int = 4
) -> tuple[MemberRow, ...]:
    body = body_of(header_of(epoch), weights)
    return tuple((member, body) for member in MEMBERS[:members])


def block_hash(epoch: int) -> bytes:
    return bytes([0xB0 + epoch]) * 32


def decide(settlement: Settlement, epoch: int, weights: Mapping[str, int | None]) -> None:
    """Let a member know an epoch's terms and its decided block."""
    settlement.prepare(terms_of(epoch, list(weights)))
    settlement.decided(epoch, block_hash(epoch), rows_of(epoch, weights))


def proposal_of(settlement: Settlement, epoch: int) -> Proposal:
    [found] = [one for one in settlement.open_proposals() if one.epoch == epoch]
    return found
