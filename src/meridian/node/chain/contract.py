"""A contract by its ABI: read its views, encode calls to it, decode its events.

The law: addresses are `Address` bytes on both sides, byte strings have exactly the length of their type (an encoder
that pads would turn a wrong digest into a valid call), structs are given as tuples, mappings or dataclasses and come
back as tuples.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import eth_abi.abi
import eth_abi.exceptions

from meridian.errors import InvalidInput, RemoteFault
from meridian.node.chain.logs import read_logs
from meridian.node.chain.reverts import as_reverted
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address, address_text, parse_address

_ARRAY: Final = re.compile(r"(.*)\[(\d*)\]")
_FIXED_BYTES: Final = re.compile(r"bytes([1-9]\d?)")


class Compiled(Protocol):
    """What is needed of a compiled contract."""

    @property
    def abi(self) -> Sequence[Mapping[str, Any]]:
        """The ABI's entries."""

    @property
    def bytecode(self) -> bytes:
        """The init code, without constructor arguments."""


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event: `args` by name, and where it happened."""

    name: str
    args: dict[str, Any]
    block: int
    tx_hash: bytes
    log_index: int


class Contract:
    """A deployed contract, asked through one chain client."""

    def __init__(self, rpc: ChainClient, address: Address, artefact: Compiled) -> None:
        self.rpc = rpc
        self.address = address
        self._abi = artefact.abi

    def read(self, function: str, *args: Any, block: int | str = "latest") -> Any:
        """Return what a view returns: a value, a tuple of several, or None.

        Args:
            function: Its name in the ABI.
            args: Its arguments.
            block: A block number or tag.

        Raises:
            Reverted: If the contract refuses.
            InvalidInput: If the function or the arguments do not fit the ABI.
            RemoteFault: If there is no such contract, or the endpoint fails.
        """
        entry = self._function(function, len(args))
        call = {"to": address_text(self.address), "data": "0x" + _call_data(entry, args).hex()}
        try:
            answer = self.rpc.call("eth_call", call, _block_text(block))
        except RpcError as error:
            refusal = as_reverted(error)
            raise refusal or error from error
        values = _decode(entry.get("outputs", ()), bytes.fromhex(answer[2:]), f"{function}()")
        return None if not values else values[0] if len(values) == 1 else values

    def encode(self, function: str, *args: Any) -> bytes:
        """Return the call data of a function with these arguments.

        Raises:
            InvalidInput: If the function or the arguments do not fit the ABI.
        """
        return _call_data(self._function(function, len(args)), args)

    def decode_call(self, data: bytes) -> tuple[str, tuple[Any, ...]]:
        """Return the function and the arguments that call data stand for.

        Raises:
            InvalidInput: If the contract has no such function, or the arguments do not fit it.
        """
        for entry in self._abi:
            if entry["type"] == "function" and _selector(entry) == data[:4]:
                try:
                    return entry["name"], _decode(entry["inputs"], data[4:], entry["name"])
                except RemoteFault as error:
                    raise InvalidInput("data", str(error)) from error
        raise InvalidInput("data", f"the contract has no function 0x{data[:4].hex()}")

    def events(
        self,
        name: str,
        from_block: int = 0,
        to_block: int | str = "latest",
        where: Mapping[str, Any] | None = None,
    ) -> list[Event]:
        """Return the contract's events of one kind, in chain order.

        Args:
            name: The event's name in the ABI.
            from_block: First block.
            to_block: Last block, or a tag.
            where: Values that indexed arguments must have.

        Raises:
            InvalidInput: If there is no such event or indexed argument.
            RemoteFault: If the endpoint fails.
        """
        entry = self._event(name)
        last = to_block if isinstance(to_block, int) else int(self.rpc.call("eth_blockNumber"), 16)
        topics = _topics(entry, where or {})
        if from_block > last:
            return []
        return self.decode(name, self._logs(topics, from_block, last))

    def decode(self, name: str, logs: Iterable[Mapping[str, Any]]) -> list[Event]:
        """Return this contract's events of one kind among logs as JSON (of a receipt, say)."""
        entry = self._event(name)
        topic = "0x" + _event_topic(entry).hex()
        own = address_text(self.address)
        return [
            _event(entry, log)
            for log in logs
            if log["address"].lower() == own and log["topics"] and log["topics"][0] == topic
        ]

    def _logs(self, topics: list[str | None], first: int, last: int) -> list[dict[str, Any]]:
        wanted = {"address": address_text(self.address), "topics": topics}
        return read_logs(self.rpc, wanted, first, last)

    def _function(self, name: str, count: int) -> Mapping[str, Any]:
        named = [one for one in self._abi if one["type"] == "function" and one["name"] == name]
        for entry in named:  # a Vyper function with default arguments stands there once per count
            if len(entry["inputs"]) == count:
                return entry
        if named:
            wanted = " or ".join(str(len(one["inputs"])) for one in named)
            raise InvalidInput(name, f"{count} arguments where {wanted} are wanted")
        raise InvalidInput("function", f"the contract has no {name}()")

    def _event(self, name: str) -> Mapping[str, Any]:
        for entry in self._abi:
            if entry["type"] == "event" and entry["name"] == name:
                return entry
        raise InvalidInput("event", f"the contract has no {name}")


def creation_code(artefact: Compiled, args: Sequence[Any]) -> bytes:
    """Return the data of a transaction that creates the contract with these constructor arguments.

    Raises:
        InvalidInput: If the arguments do not fit.
    """
    inputs: Sequence[Mapping[str, Any]] = ()
    for entry in artefact.abi:
        if entry["type"] == "constructor":
            inputs = entry["inputs"]
    return artefact.bytecode + _encode(inputs, args, "constructor")


def _selector(entry: Mapping[str, Any]) -> bytes:
    kinds = ",".join(_kind(one) for one in entry["inputs"])
    return keccak(f"{entry['name']}({kinds})".encode())[:4]


def _call_data(entry: Mapping[str, Any], args: Sequence[Any]) -> bytes:
    return _selector(entry) + _encode(entry["inputs"], args, entry["name"])


def _kind(entry: Mapping[str, Any]) -> str:
    """Return the canonical type: a struct becomes the tuple of its members' types."""
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        inner = ",".join(_kind(one) for one in entry["components"])
        return f"({inner}){kind[len('tuple') :]}"
    return kind


def _encode(entries: Sequence[Mapping[str, Any]], args: Sequence[Any], what: str) -> bytes:
    if len(args) != len(entries):
        raise InvalidInput(what, f"{len(args)} arguments where {len(entries)} are wanted")
    plain = [_outgoing(entry, entry["type"], arg) for entry, arg in zip(entries, args, strict=True)]
    try:
        return eth_abi.abi.encode([_kind(entry) for entry in entries], plain)
    except (eth_abi.exceptions.EncodingError, TypeError, ValueError) as error:
        raise InvalidInput(what, str(error)) from error


def _decode(entries: Sequence[Mapping[str, Any]], data: bytes, what: str) -> tuple[Any, ...]:
    if not entries:
        return ()
    if not data:
        raise RemoteFault(f"{what}: nothing came back; there is no such contract at this address")
    try:
        values = eth_abi.abi.decode([_kind(entry) for entry in entries], data)
    except (eth_abi.exceptions.DecodingError, ValueError) as error:
        raise RemoteFault(f"{what}: what came back does not fit the ABI: {error}") from error
    return tuple(
        _incoming(entry, entry["type"], value) for entry, value in zip(entries, values, strict=True)
    )


def _outgoing(entry: Mapping[str, Any], kind: str, value: Any) -> Any:
    array = _ARRAY.fullmatch(kind)
    if array:
        return [_outgoing(entry, array[1], one) for one in value]
    if kind == "tuple":
        members = entry["components"]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            missing = [one["name"] for one in members if one["name"] not in value]
            if missing:
                raise InvalidInput(entry["name"], f"{missing[0]} is missing")
            value = [value[one["name"]] for one in members]
        if len(value) != len(members):
            raise InvalidInput(
                entry["name"], f"{len(value)} members where {len(members)} are wanted"
            )
        return tuple(
            _outgoing(member, member["type"], one)
            for member, one in zip(members, value, strict=True)
        )
    fixed = _FIXED_BYTES.fullmatch(kind)
    if fixed and (not isinstance(value, bytes) or len(value) != int(fixed[1])):
        raise InvalidInput(entry["name"] or kind, f"not exactly {fixed[1]} bytes")
    if kind == "address":
        if isinstance(value, str):
            value = parse_address(value, entry["name"] or kind)
        if not isinstance(value, bytes) or len(value) != 20:
            raise InvalidInput(entry["name"] or kind, "not an address of 20 bytes")
    return value


def _incoming(entry: Mapping[str, Any], kind: str, value: Any) -> Any:
    array = _ARRAY.fullmatch(kind)
    if array:
        return [_incoming(entry, array[1], one) for one in value]
    if kind == "tuple":
        pairs = zip(entry["components"], value, strict=True)
        return tuple(_incoming(member, member["type"], one) for member, one in pairs)
    return parse_address(value) if kind == "address" else value


def _event_topic(entry: Mapping[str, Any]) -> bytes:
    return keccak(f"{entry['name']}({','.join(_kind(one) for one in entry['inputs'])})".encode())


def _topics(entry: Mapping[str, Any], where: Mapping[str, Any]) -> list[str | None]:
    indexed = [one for one in entry["inputs"] if one["indexed"]]
    unknown = where.keys() - {one["name"] for one in indexed}
    if unknown:
        raise InvalidInput(min(unknown), f"not an indexed argument of {entry['name']}")
    topics: list[str | None] = ["0x" + _event_topic(entry).hex()]
    for one in indexed:
        wanted = where.get(one["name"])
        topics.append(
            None if wanted is None else "0x" + _encode([one], [wanted], one["name"]).hex()
        )
    while topics[-1] is None:
        topics.pop()
    return topics


def _event(entry: Mapping[str, Any], log: Mapping[str, Any]) -> Event:
    plain = [one for one in entry["inputs"] if not one["indexed"]]
    values = dict(
        zip(
            (one["name"] for one in plain),
            _decode(plain, bytes.fromhex(log["data"][2:]), entry["name"]),
            strict=True,
        )
    )
    indexed = [one for one in entry["inputs"] if one["indexed"]]
    for one, topic in zip(indexed, log["topics"][1:], strict=True):
        word = bytes.fromhex(topic[2:])
        hashed = _kind(one) in {"string", "bytes"} or "[" in _kind(one) or "(" in _kind(one)
        values[one["name"]] = word if hashed else _decode([one], word, entry["name"])[0]
    return Event(
        name=entry["name"],
        args={one["name"]: values[one["name"]] for one in entry["inputs"]},
        block=int(log["blockNumber"], 16),
        tx_hash=bytes.fromhex(log["transactionHash"][2:]),
        log_index=int(log["logIndex"], 16),
    )


def _block_text(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block
