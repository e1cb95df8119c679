"""What a transaction is going to cost: gas from the endpoint's estimate, fees from its last blocks, never constants.

Gas units differ by chain (a unit of Filecoin's gas is some 1/444 of Ethereum's), so nothing here knows how much a call
needs. The margin on top of an estimate is small because Filecoin burns a part of what a limit asks for too much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import Reverted
from meridian.node.chain.reverts import as_reverted
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.node.chain.signing import Call, Fees
from meridian.primitives.fil_address import CHAIN_IDS
from meridian.primitives.ids import Address, address_text

GAS_MARGIN_PERCENT: Final = 20
"""Added to the estimate: the state may change before the transaction is mined."""

BASE_FEE_HEADROOM: Final = 2
"""Fee limit = this many times the next base fee, and the tip: six full blocks in a row double it."""

BUMP_PER_MILLE: Final = 125
"""A replacement must offer this much more: 12.5 %, above the 10 % of geth, anvil and our own pool."""

FILECOIN_BUMP_PER_MILLE: Final = 250
"""The same under lotus, whose message pool asks for a quarter more ("ReplaceByFeeRatio" 1.25)."""

_FEE_QUESTIONS: Final[list[tuple[str, Sequence[Any]]]] = [
    ("eth_feeHistory", ["0x1", "latest", []]),
    ("eth_maxPriorityFeePerGas", []),
]


@dataclass(frozen=True, slots=True)
class Quote:
    """What one call would take if it was sent now."""

    gas_estimate: int
    gas_limit: int
    """The estimate and the margin."""
    fees: Fees
    base_fee_wei: int
    value_atto: int

    @property
    def cost_atto(self) -> int:
        """What the gas costs at the present base fee, without the value."""
        price = min(self.fees.max_fee_wei, self.base_fee_wei + self.fees.tip_wei)
        return self.gas_estimate * price

    @property
    def cost_max_atto(self) -> int:
        """The most that leaves the account: the whole limit at the highest fee, and the value."""
        return self.gas_limit * self.fees.max_fee_wei + self.value_atto


def quote(rpc: ChainClient, sender: Address, calls: Sequence[Call]) -> list[Quote | Reverted]:
    """Ask the endpoint what each of independent calls takes, or why a contract refuses it.

    Raises:
        RpcError: If the endpoint refuses (too few coins, say).
        RpcUnavailable: If it gives no answer.
    """
    questions: list[tuple[str, Sequence[Any]]] = [
        *_FEE_QUESTIONS,
        *(("eth_estimateGas", [_question(sender, call)]) for call in calls),
    ]
    history, tip, *estimates = rpc.batch(questions)
    fees, base_wei = _fees(history, tip)
    found: list[Quote | Reverted] = []
    for call, estimate in zip(calls, estimates, strict=True):
        if isinstance(estimate, RpcError):
            refusal = as_reverted(estimate)
            if refusal is None:
                raise estimate
            found.append(refusal)
        else:
            gas = int(estimate, 16)
            limit = gas + gas * GAS_MARGIN_PERCENT // 100
            found.append(Quote(gas, limit, fees, base_wei, call.value_atto))
    return found


def present_fees(rpc: ChainClient) -> tuple[Fees, int]:
    """Return what a transaction should offer now, and the next block's base fee."""
    return _fees(*rpc.batch(_FEE_QUESTIONS))


def raised(old: Fees, asked: Fees, chain_id: int) -> Fees:
    """Return what the replacement of a stuck transaction offers: enough for any pool, and for the present base fee."""
    bump = FILECOIN_BUMP_PER_MILLE if chain_id in CHAIN_IDS else BUMP_PER_MILLE

    def more(value: int) -> int:
        return value + value * bump // 1000 + 1

    tip = max(more(old.tip_wei), asked.tip_wei)
    return Fees(max(more(old.max_fee_wei), asked.max_fee_wei, tip), tip)


def _question(sender: Address, call: Call) -> dict[str, str]:
    fields = {
        "from": address_text(sender),
        "data": "0x" + call.data.hex(),
        "value": hex(call.value_atto),
    }
    return fields if call.to is None else fields | {"to": address_text(call.to)}


def _fees(history: Any, tip: Any) -> tuple[Fees, int]:
    for answer in (history, tip):
        if isinstance(answer, RpcError):
            raise answer
    base_wei, tip_wei = int(history["baseFeePerGas"][-1], 16), int(tip, 16)
    return Fees(BASE_FEE_HEADROOM * base_wei + tip_wei, tip_wei), base_wei
