"""Hex in and out of JSON-RPC, and the JSON shapes of blocks, transactions, receipts and logs.

The law: strict in, canonical out. A parameter that is not exactly of its type is refused with its name (-32602);
addresses go out in lower case, quantities without leading zeros.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from eth_bloom.bloom import BloomFilter

from meridian.node.chain.execution import CallRequest
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.rules import EvmTransaction, Header
from meridian.node.chain.store import StoredLog, StoredTransaction
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text

INVALID_PARAMS_CODE: Final = -32602

TOPIC_OPTIONS_MAX: Final = 256
ADDRESSES_MAX: Final = 256

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")
_CALL_FIELDS: Final = frozenset(
    {
        *("from", "to", "data", "input", "value", "gas", "gasPrice", "maxFeePerGas"),
        *("maxPriorityFeePerGas", "nonce", "type", "chainId", "accessList"),
    }
)


def invalid(field: str, reason: str) -> RpcError:
    """Return the error for a parameter that is not acceptable."""
    return RpcError(INVALID_PARAMS_CODE, f"invalid params: {field}: {reason}")


# -- in ------------------------------------------------------------------------------------------------------------


def read_quantity(value: Any, field: str) -> int:
    """Read a quantity of at most 256 bits."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise invalid(field, "not a hex quantity without leading zeros")
    return int(value, 16)


def read_data(value: Any, field: str, length: int | None = None) -> bytes:
    """Read bytes, of exactly `length` if given."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise invalid(field, "not 0x and pairs of hex digits")
    data = bytes.fromhex(value[2:])
    if length is not None and len(data) != length:
        raise invalid(field, f"{len(data)} bytes where {length} are needed")
    return data


def read_address(value: Any, field: str) -> Address:
    """Read a 20-byte address in any letter case."""
    return Address(read_data(value, field, 20))


def read_flag(value: Any, field: str) -> bool:
    """Read a boolean."""
    if not isinstance(value, bool):
        raise invalid(field, "not a boolean")
    return value


def read_object(value: Any, field: str) -> dict[str, Any]:
    """Read a JSON object."""
    if not isinstance(value, dict):
        raise invalid(field, "not an object")
    return value


def read_call(value: Any) -> CallRequest:
    """Read the transaction object of eth_call and eth_estimateGas; fees and access lists change no result here."""
    fields = read_object(value, "transaction")
    unknown = fields.keys() - _CALL_FIELDS
    if unknown:
        raise invalid("transaction", f"unknown field {min(unknown)!r}")
    given = {name: one for name, one in fields.items() if one is not None}
    data, same = given.get("data"), given.get("input")
    if data is not None and same is not None and data != same:
        raise invalid("transaction", "both data and input are given, and differ")
    return CallRequest(
        sender=read_address(given["from"], "from") if "from" in given else ZERO_ADDRESS,
        to=read_address(given["to"], "to") if given.get("to") else None,
        data=read_data(data if same is None else same, "data") if (data or same) else b"",
        value_atto=read_quantity(given.get("value", "0x0"), "value"),
        gas=read_quantity(given["gas"], "gas") if "gas" in given else None,
    )


def read_topics(value: Any) -> tuple[tuple[bytes, ...], ...]:
    """Read a topic filter: per position a topic, a list of alternatives, or null for any."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > 4:
        raise invalid("topics", "not a list of at most 4")
    return tuple(_alternatives(one, "topics", 32, TOPIC_OPTIONS_MAX) for one in value)


def read_addresses(value: Any) -> tuple[Address, ...]:
    """Read an address filter: one, a list of alternatives, or null for any."""
    return tuple(Address(one) for one in _alternatives(value, "address", 20, ADDRESSES_MAX))


def _alternatives(value: Any, field: str, length: int, most: int) -> tuple[bytes, ...]:
    if value is None:
        return ()
    options = value if isinstance(value, list) else [value]
    if len(options) > most:
        raise invalid(field, f"more than {most} alternatives")
    return tuple(read_data(one, field, length) for one in options)


# -- out -----------------------------------------------------------------------------------------------------------


def quantity(value: int) -> str:
    """Return a number as a hex quantity."""
    return hex(value)


def data(value: bytes) -> str:
    """Return bytes as hex."""
    return "0x" + bytes(value).hex()


def block_json(header: Header, size_bytes: int, transactions: Sequence[Any]) -> dict[str, Any]:
    """Return a block; `transactions` are hashes or transaction objects."""
    block = {
        "number": quantity(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": _bloom(header.bloom),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": data(header.coinbase),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": data(header.extra_data),
        "size": quantity(size_bytes),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "mixHash": data(header.mix_hash),
        "baseFeePerGas": quantity(header.base_fee_per_gas),
        "withdrawalsRoot": data(header.withdrawals_root),
        "withdrawals": [],
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "uncles": [],
        "transactions": list(transactions),
    }
    if hasattr(header, "requests_hash"):
        block["requestsHash"] = data(header.requests_hash)
    return block


def transaction_json(
    inner: EvmTransaction,
    sender: Address,
    *,
    header: Header | None = None,
    position: int | None = None,
) -> dict[str, Any]:
    """Return a transaction, in the block of `header` or waiting."""
    kind = getattr(inner, "type_id", None) or 0
    shown: dict[str, Any] = {
        "hash": data(inner.hash),
        "type": quantity(kind),
        "chainId": quantity(inner.chain_id or 0),
        "nonce": quantity(inner.nonce),
        "from": address_text(sender),
        "to": data(inner.to) if inner.to else None,
        "value": quantity(inner.value),
        "gas": quantity(inner.gas),
        "input": data(inner.data),
        "r": quantity(inner.r),
        "s": quantity(inner.s),
        "v": quantity(inner.y_parity if kind else inner.v),
        "blockHash": None if header is None else data(header.hash),
        "blockNumber": None if header is None else quantity(header.block_number),
        "transactionIndex": None if position is None else quantity(position),
        "gasPrice": quantity(gas_price_wei(inner, header)),
    }
    if kind:
        shown["yParity"] = quantity(inner.y_parity)
        shown["accessList"] = [
            {"address": data(account), "storageKeys": [f"0x{slot:064x}" for slot in slots]}
            for account, slots in inner.access_list
        ]
    if kind == 2:
        shown["maxFeePerGas"] = quantity(inner.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = quantity(inner.max_priority_fee_per_gas)
    return shown


def gas_price_wei(inner: EvmTransaction, header: Header | None) -> int:
    """Return what a transaction pays per gas in the block of `header`, or its limit while it waits."""
    limit = int(inner.max_fee_per_gas)
    if header is None:
        return limit
    return min(limit, int(inner.max_priority_fee_per_gas) + int(header.base_fee_per_gas))


def receipt_json(
    row: StoredTransaction,
    inner: EvmTransaction,
    logs: Sequence[StoredLog],
    header: Header,
) -> dict[str, Any]:
    """Return a receipt; a failed one carries what it returned as `revertReason`, as Besu's do."""
    bloom = BloomFilter()
    for log in logs:
        bloom.extend([bytes(log.address), *log.topics])
    receipt: dict[str, Any] = {
        "transactionHash": data(row.hash),
        "transactionIndex": quantity(row.position),
        "blockHash": data(header.hash),
        "blockNumber": quantity(row.block),
        "from": address_text(row.sender),
        "to": data(inner.to) if inner.to else None,
        "contractAddress": None if row.created is None else data(row.created),
        "gasUsed": quantity(row.gas_used),
        "cumulativeGasUsed": quantity(row.gas_cumulative),
        "effectiveGasPrice": quantity(gas_price_wei(inner, header)),
        "status": quantity(row.status),
        "type": quantity(getattr(inner, "type_id", None) or 0),
        "logsBloom": _bloom(int(bloom)),
        "logs": [log_json(log, header.hash) for log in logs],
    }
    if not row.status:
        receipt["revertReason"] = data(row.output)
    return receipt


def log_json(log: StoredLog, block_hash: bytes) -> dict[str, Any]:
    """Return an event log."""
    return {
        "address": address_text(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": quantity(log.block),
        "blockHash": data(block_hash),
        "transactionHash": data(log.tx_hash),
        "transactionIndex": quantity(log.tx_position),
        "logIndex": quantity(log.position),
        "removed": False,
    }


def _bloom(value: int) -> str:
    return f"0x{value:0512x}"
