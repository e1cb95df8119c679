"""What became of a transaction: its receipt as a value, with the contract's reason when it reverted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meridian.errors import NotFound
from meridian.node.chain.reverts import NO_REASON, as_reverted, revert_reason
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.primitives.ids import Address, parse_address


@dataclass(frozen=True, slots=True)
class TxReceipt:
    """What became of a transaction.

    `status` is 1 or 0 (reverted, for `reason`), `gas_used` in gas, `logs` as JSON (see `Contract.decode`).
    """

    tx_hash: bytes
    status: int
    gas_used: int
    block: int
    contract_address: Address | None
    logs: tuple[Mapping[str, Any], ...]
    reason: str = ""
    price_wei: int = 0
    """What a unit of gas cost; 0 where the endpoint does not say."""


def read_receipt(rpc: ChainClient, tx_hash: bytes, answer: Mapping[str, Any]) -> TxReceipt:
    """Return a receipt as `eth_getTransactionReceipt` gave it; a reverted one costs another question or two."""
    status = int(answer["status"], 16)
    created = answer.get("contractAddress")
    return TxReceipt(
        tx_hash=tx_hash,
        status=status,
        gas_used=int(answer["gasUsed"], 16),
        block=int(answer["blockNumber"], 16),
        contract_address=parse_address(created) if created else None,
        logs=tuple(answer["logs"]),
        reason="" if status else _reason(rpc, answer),
        price_wei=int(answer.get("effectiveGasPrice") or "0x0", 16),
    )


def _reason(rpc: ChainClient, answer: Mapping[str, Any]) -> str:
    """Return why a transaction reverted: the receipt's own word, else that of the same call again."""
    stated = answer.get("revertReason")
    if isinstance(stated, str):
        return revert_reason(bytes.fromhex(stated[2:])) or NO_REASON
    sent = rpc.call("eth_getTransactionByHash", answer["transactionHash"])
    if sent is None:
        raise NotFound("a transaction with a receipt is unknown to the endpoint")
    call = {"from": sent["from"], "data": sent["input"], "value": sent["value"]}
    call |= {"to": sent["to"]} if sent.get("to") else {}
    try:
        rpc.call("eth_call", call, answer["blockNumber"])
    except RpcError as error:
        refusal = as_reverted(error)
        return refusal.reason if refusal else error.message
    return NO_REASON
