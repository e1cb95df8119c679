"""What an outsider reads of a subnet's epochs: both chains, or the parent alone where nobody shows the child."""

from collections.abc import Sequence

from meridian.errors import InvalidInput
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.subnet_chains import GATEWAY, REGISTRY, ChildView, ParentView
from meridian.journey.models.sums_chain import EpochHistory
from meridian.models.subnet import ChildState, Committed
from meridian.models.subnet_audit import SubnetEpoch
from meridian.node.chain.contract import Contract
from meridian.primitives.ids import Address, address_text, parse_address


def read_epochs(
    parent: ParentView, child: ChildView | None, file: ModelFile, epochs: Sequence[int]
) -> list[SubnetEpoch]:
    """Return what the chains show of epochs.

    Raises:
        InvalidInput: If a checkpoint did not come by a plain call: what it said is not shown.
    """
    code = {REGISTRY: _code(parent.registry), GATEWAY: _code(parent.gateway)}
    whole = all(code.values())
    committed = parent.committed() if whole else []
    states = _states(committed, child, file.first_epoch)
    shown = child is not None and child.sums.terms() is not None
    histories = child.sums.history() if child is not None and shown else {}
    names = {
        parse_address(account): str(name) for account, name in file.more.get("nodes", {}).items()
    }
    settled = committed[-1].checkpoint.settled if committed else 0
    committees = {
        number: parent.committee(number)
        for number in range(file.first_epoch, file.first_epoch + max(settled, 1))
        if whole
    }
    return [
        SubnetEpoch(
            epoch=epoch,
            first_epoch=file.first_epoch,
            domain=parent.domain,
            code=code,
            wiring=_wiring(parent) if whole else {},
            registry=parent.registry.address,
            committed=committed,
            committees=committees,
            states=states,
            sums=None
            if child is None
            else child.sums.epoch_sums(file, epoch, histories.get(epoch, EpochHistory()).jobs),
            deposits=parent.deposits() if whole else [],
            minted=child.minted() if child is not None and shown else [],
            claimed=parent.paid("Claimed") if whole else [],
            withdrawn=parent.paid("Withdrawn") if whole else [],
            names=names,
        )
        for epoch in epochs
    ]


def _code(contract: Contract) -> bytes:
    answer = contract.rpc.call("eth_getCode", address_text(contract.address), "latest")
    return bytes.fromhex(answer[2:])


def _wiring(parent: ParentView) -> dict[str, Address]:
    return {
        "registry": parent.gateway.read("registry"),
        "evaluations": parent.registry.read("evaluations"),
        "disputes": parent.registry.read("disputes"),
    }


def _states(
    committed: Sequence[Committed], child: ChildView | None, first_epoch: int
) -> list[ChildState | None]:
    """Return the child at each checkpoint's block; None where it does not show it."""
    states: list[ChildState | None] = []
    settled = 0
    for one in committed:
        state = None
        if child is not None:
            try:
                epoch = None
                if one.checkpoint.settled > settled:
                    number = first_epoch + settled
                    epoch = child.settled(number, one.checkpoint.budget, one.checkpoint.height)
                state = child.state(one.checkpoint.height, epoch)
            except InvalidInput:
                state = None
        states.append(state)
        settled = one.checkpoint.settled
    return states
