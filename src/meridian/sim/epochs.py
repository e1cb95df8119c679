"""The epochs of a world: who is a member of which, and who leads."""

from __future__ import annotations

from meridian.ephemera.context import Context
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.sim import signatures
from meridian.sim.faults import Plan

DOMAIN = Domain(314, Address(bytes(19) + b"\x01"))
FIRST_EPOCH = 9


def contexts_of(plan: Plan) -> tuple[Context, ...]:
    """The epochs of a world: who is a member, by key."""
    seats = list(range(plan.nodes))
    contexts = []
    for epoch in range(plan.course.epochs):
        if epoch and plan.course.rotate:
            leaving = next((p for p in seats if p not in plan.byzantine), seats[0])
            seats = [p for p in seats if p != leaving] + [plan.nodes + epoch - 1]
        addresses = tuple(sorted(_address(plan, participant) for participant in seats))
        context = Context(DOMAIN, network_id("sim"), FIRST_EPOCH + epoch, addresses)
        if plan.scenario is not None:
            leaders = [addresses.index(_address(plan, p)) for p in plan.scenario.leaders]
            object.__setattr__(context, "leaders", tuple(leaders))
        contexts.append(context)
    return tuple(contexts)


def leader_of(plan: Plan, view: int) -> int:
    """The participant that leads a view of the first epoch."""
    context = contexts_of(plan)[0]
    address = context.members[context.leader(view)]
    return next(p for p in range(plan.nodes) if _address(plan, p) == address)


def _address(plan: Plan, participant: int) -> Address:
    return signatures.key_of(participant, modelled=not plan.real_signatures).address
