"""What the chain shows of an epoch of the summary model, read from events, call data and views."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from meridian.errors import InvalidInput, RemoteFault, Reverted
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.metering import answers
from meridian.journey.models.summary_commitments import Commitment
from meridian.journey.models.summary_network import SummaryNetwork
from meridian.models.summary import Summary, Terms
from meridian.models.summary_epoch import Challenge, Member, Payment, SummaryEpoch
from meridian.node.chain.contract import Event
from meridian.primitives.ids import Address, NodeKey, address_text, node_key, parse_address

_TERMS: Final = (
    "network", "genesis", "epoch_seconds", "first_epoch", "commit_seconds", "challenge_seconds",
    "answer_seconds", "exit_seconds", "stake_min", "bond", "samples", "value_max",
)  # fmt: skip
_STEPS: Final = {
    "Summarised": "commit",
    "Challenged": "challenge",
    "Drawn": "draw",
    "Answered": "answer",
    "Voided": "expire",
    "Paid": "claim",
}
"""Event -> step of the result's gas."""


def terms_of(network: SummaryNetwork) -> Terms | None:
    """Return what a contract was deployed with; None where it is another one, or none."""
    try:
        values = [network.contract.read(name) for name in _TERMS]
    except (Reverted, RemoteFault):
        return None
    network_id, genesis, seconds, first, commit, challenge, answer, leave, *rest = values
    stake, bond, samples, value_max = rest
    return Terms(
        network=bytes(network_id),
        genesis_s=genesis,
        epoch_seconds=seconds,
        first_epoch=first,
        commit_seconds=commit,
        challenge_seconds=challenge,
        answer_seconds=answer,
        exit_seconds=leave,
        stake_min_atto=stake,
        bond_atto=bond,
        samples=samples,
        value_max=value_max,
    )


def read_epoch(
    network: SummaryNetwork, file: ModelFile, kind: Commitment, epoch: int
) -> SummaryEpoch:
    """Return what the chain shows of an epoch."""
    code = network.client.call("eth_getCode", address_text(network.address), "latest")
    shown: dict[str, Any] = {
        "contract": network.name,
        "epoch": epoch,
        "function_digest": file.function_digest,
        "expected": network.terms,
        "code": bytes.fromhex(code[2:]),
        "names": {node_key(name): name for name in file.more["nodes"]},
        "check_answer": kind.check,
    }
    terms = terms_of(network)
    if terms is None:
        return SummaryEpoch(**shown)
    events = {name: network.contract.events(name, where={"epoch": epoch}) for name in _STEPS}
    state = network.epoch(epoch)
    head = network.client.call("eth_getBlockByNumber", "latest", False)
    return SummaryEpoch(
        **shown,
        terms=terms,
        members=_members(network),
        summaries=[
            (NodeKey(bytes(one.args["node_key"])), _summary(one)) for one in events["Summarised"]
        ],
        closed=0 < state.closed_at <= int(head["timestamp"], 16),
        weight=state.weight,
        funds_atto=state.funds_atto,
        challenges=_challenges(network, kind, events),
        payments=[
            Payment(
                NodeKey(bytes(one.args["node_key"])),
                one.args["payee"],
                one.args["amount"],
            )
            for one in events["Paid"]
        ],
        gas=_gas(network, events),
    )


def _summary(event: Event) -> Summary:
    return Summary(bytes(event.args["root"]), event.args["jobs"], event.args["weight"])


def _members(network: SummaryNetwork) -> dict[NodeKey, Member]:
    return {
        NodeKey(bytes(one.args["node_key"])): Member(
            one.args["operator"],
            one.args["payee"],
            one.args["stake"],
        )
        for one in network.contract.events("NodeRegistered")
    }


def _who(event: Event) -> tuple[NodeKey, Address]:
    node = NodeKey(bytes(event.args["node_key"]))
    return node, event.args["challenger"]


def _challenges(
    network: SummaryNetwork, kind: Commitment, events: Mapping[str, Sequence[Event]]
) -> list[Challenge]:
    seeds = {_who(one): bytes(one.args["seed"]) for one in events["Drawn"]}
    begun = {_who(one): one.block for one in events["Challenged"]}
    begun |= {_who(one): one.block for one in events["Drawn"] if not any(one.args["seed"])}
    answered = {_who(one): one for one in events["Answered"]}
    voided = {_who(one) for one in events["Voided"]}
    blocks = answers(
        network.client, [("eth_getBlockByNumber", [hex(at), False]) for at in begun.values()]
    )
    sent = answers(
        network.client,
        [("eth_getTransactionByHash", ["0x" + one.tx_hash.hex()]) for one in answered.values()],
    )
    shown = {who: _shown(network, kind, one, who) for who, one in zip(answered, sent, strict=True)}
    return [
        Challenge(
            node=who[0],
            challenger=who[1],
            block_hash=bytes.fromhex(block["hash"][2:]),
            seed=seeds[who] if any(seeds.get(who, b"")) else None,
            answer=shown.get(who),
            answered=who in answered,
            voided=who in voided,
        )
        for who, block in zip(begun, blocks, strict=True)
    ]


def _shown(
    network: SummaryNetwork,
    kind: Commitment,
    sent: Mapping[str, Any],
    who: tuple[NodeKey, Address],
) -> list[Any] | None:
    """Return what a transaction answered with; None if it called something else."""
    if sent["to"] is None or parse_address(sent["to"], "to") != network.address:
        return None
    try:
        name, arguments = network.contract.decode_call(bytes.fromhex(sent["input"][2:]))
    except InvalidInput:
        return None
    if name != "answer" or (bytes(arguments[1]), arguments[2]) != who:
        return None
    jobs = arguments[3][1]
    return [kind.decode(one, jobs) for one in arguments[4]]


def _gas(network: SummaryNetwork, events: Mapping[str, Sequence[Event]]) -> dict[str, int]:
    """Return the gas of an epoch's transactions by step; one that did several things counts for the first."""
    steps: dict[bytes, str] = {}
    for name, found in events.items():
        for one in found:
            steps.setdefault(one.tx_hash, _STEPS[name])
    calls = [("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in steps]
    gas: dict[str, int] = {}
    for step, receipt in zip(steps.values(), answers(network.client, calls), strict=True):
        gas[step] = gas.get(step, 0) + int(receipt["gasUsed"], 16)
    return gas
