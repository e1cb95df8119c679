"""The JSON-RPC methods of the chain, each from its parameters to its result.

The law: a method reads the state of one block from beginning to end, whatever is mined meanwhile. At ``latest`` and
``pending`` calls run inside the block that would be made now, so that views which depend on the time move on while the
chain is idle; waiting transactions are not applied. At an older block they run inside that block, after it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.node.chain import encoding as enc
from meridian.node.chain.execution import (
    SERVER_ERROR_CODE,
    CallRequest,
    call_output,
    estimate_gas,
    run_call,
)
from meridian.node.chain.ledger import Ledger
from meridian.node.chain.rpc import TOO_MUCH_CODE, RpcError
from meridian.node.chain.rules import (
    BLOCK_GAS_LIMIT,
    SUGGESTED_TIP_WEI,
    Header,
    Machine,
    TransactionRefused,
)
from meridian.node.chain.store import LogQuery, StoredTransaction

LOGS_MAX: Final = 10_000
"""A query for more logs is refused: the caller halves its range."""

FEE_HISTORY_BLOCKS_MAX: Final = 1_024

METHOD_NOT_FOUND_CODE: Final = -32601

_NEWEST: Final = frozenset({"latest", "pending", "safe", "finalized"})


@dataclass(frozen=True, slots=True)
class _Method:
    run: Callable[..., Any]
    least: int
    most: int


class Methods:
    """The methods over one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._table: Mapping[str, _Method] = {
            "web3_clientVersion": _Method(self._client_version, 0, 0),
            "net_version": _Method(self._network_version, 0, 0),
            "net_listening": _Method(lambda: True, 0, 0),
            "eth_chainId": _Method(self._chain_id, 0, 0),
            "eth_syncing": _Method(lambda: False, 0, 0),
            "eth_accounts": _Method(list, 0, 0),
            "eth_blockNumber": _Method(self._block_number, 0, 0),
            "eth_gasPrice": _Method(self._gas_price, 0, 0),
            "eth_maxPriorityFeePerGas": _Method(lambda: enc.quantity(SUGGESTED_TIP_WEI), 0, 0),
            "eth_feeHistory": _Method(self._fee_history, 2, 3),
            "eth_getBalance": _Method(self._balance, 1, 2),
            "eth_getCode": _Method(self._code, 1, 2),
            "eth_getStorageAt": _Method(self._storage, 2, 3),
            "eth_getTransactionCount": _Method(self._transaction_count, 1, 2),
            "eth_call": _Method(self._call, 1, 2),
            "eth_estimateGas": _Method(self._estimate, 1, 2),
            "eth_sendRawTransaction": _Method(self._send, 1, 1),
            "eth_getTransactionByHash": _Method(self._transaction, 1, 1),
            "eth_getTransactionReceipt": _Method(self._receipt, 1, 1),
            "eth_getBlockByNumber": _Method(self._block_by_number, 1, 2),
            "eth_getBlockByHash": _Method(self._block_by_hash, 1, 2),
            "eth_getLogs": _Method(self._logs, 1, 1),
        }

    def run(self, name: str, params: Sequence[Any]) -> Any:
        """Return a method's result.

        Raises:
            RpcError: If there is no such method, a parameter is not acceptable, or the chain refuses.
        """
        method = self._table.get(name)
        if method is None:
            raise RpcError(
                METHOD_NOT_FOUND_CODE, f"the method {name[:64]} does not exist/is not available"
            )
        given = list(params)
        while len(given) > method.least and given[-1] is None:
            given.pop()  # an optional parameter given as null
        if not method.least <= len(given) <= method.most:
            raise enc.invalid(
                "params", f"{len(given)} given, {method.least} to {method.most} wanted"
            )
        return method.run(*given)

    def send_all(self, raws: Sequence[Any]) -> list[str | RpcError]:
        """Take many raw transactions, durably in one step; return per transaction its hash or the error."""
        results: dict[int, str | RpcError] = {}
        wanted: list[tuple[int, bytes]] = []
        for index, raw in enumerate(raws):
            try:
                wanted.append((index, enc.read_data(raw, "raw transaction")))
            except RpcError as error:
                results[index] = error
        verdicts = self._ledger.admit([raw for _, raw in wanted])
        for (index, _), verdict in zip(wanted, verdicts, strict=True):
            if isinstance(verdict, TransactionRefused):
                results[index] = RpcError(SERVER_ERROR_CODE, str(verdict))
            else:
                results[index] = enc.data(verdict)
        return [results[index] for index in range(len(raws))]

    # -- the chain -----------------------------------------------------------------------------------------------------

    def _client_version(self) -> str:
        return f"meridian-chain/1/py-evm/{self._ledger.rules.fork}"

    def _network_version(self) -> str:
        return str(self._ledger.rules.chain_id)

    def _chain_id(self) -> str:
        return enc.quantity(self._ledger.rules.chain_id)

    def _block_number(self) -> str:
        return enc.quantity(self._ledger.head.block_number)

    def _gas_price(self) -> str:
        return enc.quantity(self._ledger.next_header().base_fee_per_gas + SUGGESTED_TIP_WEI)

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        blocks = count if type(count) is int else enc.read_quantity(count, "blockCount")
        last = self._header(newest)
        if not 1 <= blocks <= FEE_HISTORY_BLOCKS_MAX:
            raise enc.invalid("blockCount", f"not between 1 and {FEE_HISTORY_BLOCKS_MAX}")
        if percentiles is not None and (
            not isinstance(percentiles, list) or len(percentiles) > 100
        ):
            raise enc.invalid("rewardPercentiles", "not a list of at most 100")
        first = max(0, last.block_number - blocks + 1)
        headers = [self._numbered(number) for number in range(first, last.block_number + 1)]
        following = self._ledger.rules.next_header(last, last.timestamp + 1)
        history: dict[str, Any] = {
            "oldestBlock": enc.quantity(first),
            "baseFeePerGas": [enc.quantity(one.base_fee_per_gas) for one in [*headers, following]],
            "gasUsedRatio": [one.gas_used / one.gas_limit for one in headers],
        }
        if percentiles:
            tips = [enc.quantity(SUGGESTED_TIP_WEI)] * len(percentiles)
            history["reward"] = [tips] * len(headers)
        return history

    # -- accounts ------------------------------------------------------------------------------------------------------

    def _balance(self, account: Any, block: Any = "latest") -> str:
        address = enc.read_address(account, "address")
        return enc.quantity(self._state_at(block).state.get_balance(address))

    def _code(self, account: Any, block: Any = "latest") -> str:
        address = enc.read_address(account, "address")
        return enc.data(self._state_at(block).state.get_code(address))

    def _storage(self, account: Any, slot: Any, block: Any = "latest") -> str:
        address = enc.read_address(account, "address")
        digits = slot if isinstance(slot, str) else ""
        if not digits.startswith("0x") or not 3 <= len(digits) <= 66:
            raise enc.invalid("slot", "not a hex number of at most 32 bytes")
        try:
            position = int(digits, 16)
        except ValueError as error:
            raise enc.invalid("slot", "not a hex number of at most 32 bytes") from error
        return f"0x{self._state_at(block).state.get_storage(address, position):064x}"

    def _transaction_count(self, account: Any, block: Any = "latest") -> str:
        address = enc.read_address(account, "address")
        if block == "pending":
            return enc.quantity(self._ledger.pending_nonce(address))
        return enc.quantity(self._state_at(block).state.get_nonce(address))

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, transaction: Any, block: Any = "latest") -> str:
        request = enc.read_call(transaction)
        gas = min(request.gas or BLOCK_GAS_LIMIT, BLOCK_GAS_LIMIT)
        return enc.data(call_output(run_call(self._machine_factory(block)(), request, gas)))

    def _estimate(self, transaction: Any, block: Any = "latest") -> str:
        request: CallRequest = enc.read_call(transaction)
        cap = min(request.gas or BLOCK_GAS_LIMIT, BLOCK_GAS_LIMIT)
        floor = self._ledger.rules.floor_gas(request.data)
        if cap < floor:
            raise RpcError(
                SERVER_ERROR_CODE, f"intrinsic gas too low: gas {cap}, minimum needed {floor}"
            )
        factory = self._machine_factory(block)
        return enc.quantity(estimate_gas(factory, request, cap=cap, floor=floor))

    def _send(self, raw: Any) -> str:
        [result] = self.send_all([raw])
        if isinstance(result, RpcError):
            raise result
        return result

    # -- blocks, transactions, logs ------------------------------------------------------------------------------------

    def _transaction(self, tx_hash: Any) -> dict[str, Any] | None:
        wanted = enc.read_data(tx_hash, "hash", 32)
        waiting = self._ledger.waiting(wanted)
        if waiting is not None:
            return enc.transaction_json(waiting.inner, waiting.sender)
        row = self._ledger.transaction(wanted)
        return None if row is None else self._shown(row, self._numbered(row.block))

    def _receipt(self, tx_hash: Any) -> dict[str, Any] | None:
        row = self._ledger.transaction(enc.read_data(tx_hash, "hash", 32))
        if row is None:
            return None
        inner = self._ledger.rules.decode(row.raw)
        logs = self._ledger.store.transaction_logs(row)
        return enc.receipt_json(row, inner, logs, self._numbered(row.block))

    def _block_by_number(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        whole = enc.read_flag(full, "full transactions")
        try:
            return self._block(self._header(block), full=whole)
        except _UnknownBlock:
            return None

    def _block_by_hash(self, block_hash: Any, full: Any = False) -> dict[str, Any] | None:
        whole = enc.read_flag(full, "full transactions")
        header = self._ledger.header_by_hash(enc.read_data(block_hash, "hash", 32))
        return None if header is None else self._block(header, full=whole)

    def _block(self, header: Header, *, full: bool) -> dict[str, Any]:
        number = header.block_number
        rows = self._ledger.store.block_transactions(number)
        shown = [self._shown(row, header) if full else enc.data(row.hash) for row in rows]
        return enc.block_json(header, self._ledger.store.block_size_bytes(number), shown)

    def _shown(self, row: StoredTransaction, header: Header) -> dict[str, Any]:
        inner = self._ledger.rules.decode(row.raw)
        return enc.transaction_json(inner, row.sender, header=header, position=row.position)

    def _logs(self, query: Any) -> list[dict[str, Any]]:
        fields = enc.read_object(query, "filter")
        unknown = fields.keys() - {"fromBlock", "toBlock", "blockHash", "address", "topics"}
        if unknown:
            raise enc.invalid("filter", f"unknown field {min(unknown)!r}")
        first, last = self._span(fields)
        wanted = LogQuery(
            first,
            last,
            enc.read_addresses(fields.get("address")),
            enc.read_topics(fields.get("topics")),
        )
        found = self._ledger.logs(wanted, LOGS_MAX + 1)
        if len(found) > LOGS_MAX:
            raise RpcError(TOO_MUCH_CODE, f"query returns more than {LOGS_MAX} results")
        hashes = {log.block: self._ledger.store.block_hash(log.block) or b"" for log in found}
        return [enc.log_json(log, hashes[log.block]) for log in found]

    def _span(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        if fields.get("blockHash") is not None:
            if fields.get("fromBlock") is not None or fields.get("toBlock") is not None:
                raise enc.invalid("filter", "blockHash excludes fromBlock and toBlock")
            header = self._ledger.header_by_hash(
                enc.read_data(fields["blockHash"], "blockHash", 32)
            )
            if header is None:
                raise RpcError(SERVER_ERROR_CODE, "unknown block")
            return header.block_number, header.block_number
        first = self._log_bound(fields.get("fromBlock"), "fromBlock")
        last = self._log_bound(fields.get("toBlock"), "toBlock")
        if first > last:
            raise enc.invalid("filter", "fromBlock is after toBlock")
        return first, last

    def _log_bound(self, block: Any, field: str) -> int:
        # A range may reach beyond the head: it simply holds nothing there.
        if _is_newest(block):
            return int(self._ledger.head.block_number)
        if block == "earliest":
            return 0
        return min(enc.read_quantity(block, field), 2**62)

    # -- which block ---------------------------------------------------------------------------------------------------

    def _header(self, block: Any) -> Header:
        """Return the header of a block parameter: a tag, a number, or an object of EIP-1898."""
        if _is_newest(block):
            return self._ledger.head
        if block == "earliest":
            return self._numbered(0)
        if isinstance(block, dict):
            if block.get("blockHash") is not None:
                found = self._ledger.header_by_hash(
                    enc.read_data(block["blockHash"], "blockHash", 32)
                )
                if found is None:
                    raise _UnknownBlock
                return found
            block = block.get("blockNumber")
        return self._numbered(enc.read_quantity(block, "block"))

    def _numbered(self, number: int) -> Header:
        header = self._ledger.header(number)
        if header is None:
            raise _UnknownBlock
        return header

    def _state_at(self, block: Any) -> Machine:
        return self._ledger.machine(self._header(block))

    def _machine_factory(self, block: Any) -> Callable[[], Machine]:
        header = self._ledger.next_header() if _is_newest(block) else self._header(block)
        free = header.copy(base_fee_per_gas=0)
        return lambda: self._ledger.machine(free)


def _is_newest(block: Any) -> bool:
    return block is None or (isinstance(block, str) and block in _NEWEST)


class _UnknownBlock(RpcError):
    def __init__(self) -> None:
        super().__init__(SERVER_ERROR_CODE, "unknown block")
