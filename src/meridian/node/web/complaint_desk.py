"""Where complaints are taken in: limited, checked against the chain, kept.

Law: nothing is acknowledged before it is durable, and whoever sends the same complaint again gets the same answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, Overloaded
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.node.ephemera.rate_limit import RateLimit
from meridian.node.network_file import NetworkFile
from meridian.node.web.complaint_request import ComplaintRequest
from meridian.node.web.complaint_store import ComplaintStore, StoredComplaint
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, parse_address

PER_CLIENT_S: Final = 0.1
CLIENT_BURST: Final = 10
CLIENTS_MAX: Final = 10_000
CLOCK_S: Final = 3_600
"""How far the signer's clock may be from ours: old signatures found somewhere are no new complaints."""


class Registrations(Protocol):
    """Who answers for a node."""

    def accounts(self, key: NodeKey) -> frozenset[Address]:
        """Return the operator and the payee of a node's registration, or of its last one; empty: there was none."""


class ChainRegistrations:
    """The Registry's.

    Args:
        client: Used in the thread that calls.
        network: Names the contract.
    """

    def __init__(self, client: ChainClient, network: NetworkFile) -> None:
        self._registry = Contract(client, network.contracts.registry, load("Registry"))
        self._first = network.deploy_block

    def accounts(self, key: NodeKey) -> frozenset[Address]:
        """Return operator and payee; raises `RemoteFault` if the chain does not answer."""
        operator, payee, *_ = self._registry.read("node", key)
        found = {_address(operator), _address(payee)} - {ZERO_ADDRESS}
        if not found:
            events = self._registry.events(
                "NodeRegistered", self._first, "latest", where={"node_key": key}
            )
            for event in events[-1:]:
                found = {_address(event.args["operator"]), _address(event.args["payee"])}
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks that the desk needs."""

    unix_s: Callable[[], float]
    steady_s: Callable[[], float]


class ComplaintDesk:
    """Takes complaints in; called by one thread."""

    def __init__(
        self,
        store: ComplaintStore,
        registrations: Registrations,
        network: NetworkFile,
        clock: Clock,
    ) -> None:
        self._store = store
        self._registrations = registrations
        self._network = network
        self._clock = clock
        self._limit = RateLimit(per_s=PER_CLIENT_S, burst=CLIENT_BURST, clients_max=CLIENTS_MAX)

    def take(self, body: bytes, client: str) -> tuple[StoredComplaint, bool]:
        """Keep a complaint; returns it, and whether it is new.

        Args:
            body: Of the request.
            client: Who sends it: its network address.

        Raises:
            InvalidInput: If it is none, is too old, or its signer does not answer for the node.
            Overloaded: If the client sends too many.
            RemoteFault: If the chain does not answer.
            StorageFailure: If the disk refuses.
        """
        wait_s = self._limit.delay_s(client, self._clock.steady_s())
        if wait_s:
            raise Overloaded(wait_s, "too many complaints from one address")
        request = ComplaintRequest.read(body, self._network)
        known = self._store.get(request.id)
        if known is not None:
            return known, False
        now_s = int(self._clock.unix_s())
        self._check(request, now_s)
        one = request.complaint
        stored = StoredComplaint(
            id=request.id,
            node_key=one.node_key,
            node_id=request.node_id,
            epoch=one.epoch,
            text=one.text,
            at_s=one.at_s,
            signer=request.signer,
            signature=request.signature,
            received_s=now_s,
        )
        return stored, self._store.add(stored)

    def _check(self, request: ComplaintRequest, now_s: int) -> None:
        one, calendar = request.complaint, self._network.calendar
        if abs(one.at_s - now_s) > CLOCK_S:
            raise InvalidInput("atS", f"is more than {CLOCK_S} s from now ({now_s})")
        if one.epoch < calendar.first_epoch:
            raise InvalidInput("epoch", f"the first epoch is {calendar.first_epoch}")
        if calendar.start_us(one.epoch) > now_s * 1_000_000:
            raise InvalidInput("epoch", "has not begun")
        accounts = self._registrations.accounts(one.node_key)
        if not accounts:
            raise InvalidInput("nodeKey", "no such node has registered")
        if request.signer not in accounts:
            raise InvalidInput(
                "signature", "is not one of the node's operator or payee over this complaint"
            )


def _address(value: object) -> Address:
    return parse_address(value) if isinstance(value, str) else Address(bytes(value))  # type: ignore[call-overload]
