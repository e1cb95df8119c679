"""`meridian chain open`: fix the members of the epochs that have started; anyone may do it, and somebody must."""

import time
from pathlib import Path
from typing import Final

import click

from meridian.cli.chain_session import (
    Action,
    Sending,
    chain_view,
    data_dir_option,
    open_session,
    sending_options,
)
from meridian.errors import InvalidInput
from meridian.node.chain.signing import Call

EPOCHS_PER_CALL: Final = 256
"""As the contract `Registry` has it."""


@click.command("open")
@data_dir_option
@click.option(
    "--through",
    type=click.IntRange(min=0),
    help="The last epoch to open.  [default: the newest that has started]",
)
@sending_options
def open_(data_dir: Path, through: int | None, sending: Sending) -> None:
    """Open the epochs that have started: their evaluators are fixed by this. Run it once in each epoch.

    Epochs that are open already stay as they are, so it does not matter who comes first. At most 256 at a time.
    """
    with open_session(data_dir, sending) as (session, deployment):
        registry = chain_view(session, deployment).registry
        genesis, length, first = (
            registry.read(name) for name in ("genesis", "epoch_seconds", "first_epoch")
        )
        # A chain that makes blocks only when somebody sends stands at its last block's time; ours will be of now.
        mined_s = int(session.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        now_s = max(mined_s, int(time.time()))
        started = first + (now_s - genesis) // length
        if now_s < genesis:
            raise InvalidInput("--through", f"the first epoch starts in {genesis - now_s} s")
        following = registry.read("next_epoch")
        last = min(started if through is None else through, following + EPOCHS_PER_CALL - 1)
        if last < following:
            session.say_done(f"epoch {last} is open", {"epoch": str(last)})
            return
        session.perform(
            Action(
                f"open/{registry.address.hex()}/{last}",
                Call(registry.address, registry.encode("open_epochs", last), 0),
                f"Open epochs {following} to {last}",
                {"first": str(following), "last": str(last)},
            )
        )
