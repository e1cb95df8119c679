"""`meridian chain fund` and `meridian reward`: money into a network.

`reward` takes the call of the original design as a file, ``{"evaluation_contract": "f4…", "fil_for_epoch": "2000"}``.
It names no epoch; so the first run fixes one (the next without funds, or ``--epoch``) and a second run of the same file
is the same wish.
"""

import contextlib
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_session import (
    COINS,
    Action,
    Sending,
    Session,
    chain_view,
    data_dir_option,
    open_session,
    sending_options,
)
from meridian.cli.config_option import config_option
from meridian.node.chain.contract import Contract
from meridian.node.chain.signing import Call, read_signed
from meridian.node.reward_call import RewardCall, read_reward_call


def _configured(path: Path) -> dict[str, Any]:
    from meridian.networks.sponsor_file import SponsorConfig

    return SponsorConfig.load(path).fund_options


@click.command()
@config_option(_configured, "sponsor")
@data_dir_option
@click.option("--first", type=click.IntRange(min=0), required=True, help="The first epoch.")
@click.option(
    "--epochs", type=click.IntRange(min=1), default=1, show_default=True, help="How many epochs."
)
@click.option("--each", type=COINS, required=True, help="Whole coins for each epoch.")
@click.option(
    "--again",
    default="",
    metavar="WORD",
    help="The same amount for the same epochs once more: a new word is a new payment.",
)
@sending_options
def fund(data_dir: Path, first: int, epochs: int, each: int, again: str, sending: Sending) -> None:
    """Add coins to the budgets of epochs, any number in one transaction. They cannot be taken back."""
    from meridian.primitives.amounts import format_fil

    with open_session(data_dir, sending) as (session, deployment):
        rewards = chain_view(session, deployment).rewards
        last = first + epochs - 1
        wish = f"fund/{rewards.address.hex()}/{first}/{epochs}/{each}/{again}"
        session.perform(
            Action(
                purpose=wish,
                call=Call(
                    rewards.address, rewards.encode("fund", first, epochs, each), each * epochs
                ),
                title=f"Fund epochs {first} to {last} with {format_fil(each)} each",
                facts={"first": str(first), "last": str(last), "each": format_fil(each)},
            )
        )


@click.command()
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help='{"evaluation_contract": "f4…", "fil_for_epoch": "2000"}',
)
@click.option(
    "--epoch",
    type=click.IntRange(min=0),
    help="The epoch to pay for.  [default: the next without funds; a second run keeps the first's]",
)
@click.option(
    "--from-block",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="A block before the contracts' first event, where a long chain is slow to search.",
)
@sending_options
def reward(path: Path, epoch: int | None, from_block: int, sending: Sending) -> None:
    """Pay for an epoch: the amount goes to the reward contract of an evaluation contract.

    The evaluation contract itself says which reward contract is its own. Running this again with the same file (and
    the same --epoch) never pays a second time.
    """
    from meridian.errors import InvalidInput
    from meridian.node.chain.rpc import Rpc

    if sending.rpc_url is None:
        raise InvalidInput("--rpc-url", "is needed")
    wish = read_reward_call(path)
    with contextlib.closing(Rpc(sending.rpc_url)) as rpc:
        session = Session(rpc, sending, None)
        with contextlib.closing(session):
            _pay(session, wish, epoch, from_block)


def _pay(session: Session, wish: RewardCall, epoch: int | None, from_block: int) -> None:
    """Send a sponsor's wish unless the chain or the journal shows that it was sent.

    The chain alone is enough: this sponsor's payments of the same amount for one epoch are found by their events.
    """
    from meridian.contracts.artefact import load
    from meridian.errors import InvalidInput
    from meridian.primitives.amounts import format_fil

    evaluations = Contract(session.rpc, wish.evaluation_contract, load("Evaluations"))
    rewards = Contract(session.rpc, evaluations.read("rewards"), load("Rewards"))
    if rewards.read("evaluations") != wish.evaluation_contract:
        raise InvalidInput("evaluation_contract", "its reward contract serves another one")
    facts = {
        "evaluation_contract": session.account(wish.evaluation_contract),
        "reward_contract": session.account(rewards.address),
    }
    stem = f"reward/{wish.evaluation_contract.hex()}/{wish.atto}"
    purpose = stem if epoch is None else f"{stem}/{epoch}"
    fixed = _sent_epoch(session, rewards, purpose)
    if fixed is None and epoch is not None and _sent_epoch(session, rewards, stem) == epoch:
        purpose, fixed = stem, epoch  # a run without --epoch has chosen this one
    if fixed is None:
        mine = {"sponsor": session.sender.address}
        for paid in rewards.events("Funded", from_block, where=mine):
            alike = paid.args["n"] == 1 and paid.args["each"] == wish.atto
            if alike and epoch in {None, paid.args["first"]}:
                text = f"epoch {paid.args['first']} was paid for in 0x{paid.tx_hash.hex()}"
                session.say_done(
                    f"{text}; --epoch names another",
                    {
                        **facts,
                        "epoch": str(paid.args["first"]),
                        "tx_hash": "0x" + paid.tx_hash.hex(),
                    },
                )
                return
    chosen = fixed if fixed is not None else epoch
    if chosen is None:
        chosen = _next_unfunded(session, evaluations, rewards)
    amount = format_fil(wish.atto)
    session.perform(
        Action(
            purpose=purpose,
            call=Call(rewards.address, rewards.encode("fund", chosen, 1, wish.atto), wish.atto),
            title=f"Pay {amount} for epoch {chosen}",
            facts={**facts, "epoch": str(chosen), "fil_for_epoch": amount},
        )
    )


def _sent_epoch(session: Session, rewards: Contract, purpose: str) -> int | None:
    """Return the epoch of the payment that was signed for a purpose, or None if none can be mined any more."""
    known = session.sender.under_way(purpose)
    if known is None:
        return None
    _, arguments = rewards.decode_call(read_signed(known.raw).call.data)
    return int(arguments[0])


def _next_unfunded(session: Session, evaluations: Contract, rewards: Contract) -> int:
    """Return the first epoch that nobody has funded and that is not over."""
    from meridian.contracts.artefact import load
    from meridian.measure.epoch import Calendar

    registry = Contract(session.rpc, evaluations.read("registry"), load("Registry"))
    names = ("genesis", "epoch_seconds", "first_epoch")
    calendar = Calendar(*(registry.read(name) for name in names))
    now_s = int(session.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    running = calendar.first_epoch + max(0, now_s - calendar.genesis_s) // calendar.epoch_seconds
    return int(max(rewards.read("funded_through") + 1, running))
