"""That no money is lost: what came in is paid, burned or still there, to the last atto."""

from dataclasses import dataclass

from meridian.primitives.amounts import format_fil
from meridian.reward.claims import ClaimsState
from meridian.scenario.stage import BURN_ADDRESS, BURN_PPM, Stage
from meridian.scenario.story import Story

_MILLION = 10**6


def coins(atto: int) -> str:
    """Return an amount for people."""
    return f"{format_fil(atto)} coins"


@dataclass(frozen=True, slots=True)
class Before:
    """Balances before a verdict, atto."""

    burned: int
    watcher: int
    contract: int


def look(stage: Stage) -> Before:
    """Return the balances that a verdict moves."""
    return Before(
        stage.balance(BURN_ADDRESS),
        stage.balance(stage.watcher_key.address),
        stage.balance(stage.network.contracts.disputes),
    )


def check_stake(story: Story, stage: Stage, before: Before, stake: int, harmed: int = 0) -> None:
    """Require that a taken stake was burned in part and went to the watcher (and the harmed payee) in the rest.

    Args:
        story: Hears it.
        stage: The network.
        before: Balances before the verdict.
        stake: What was taken in all.
        harmed: What of it went to the harmed node's payee.
    """
    stage.sweep()
    after = look(stage)
    burned, rest = after.burned - before.burned, after.contract - before.contract
    story.must(burned == stake * BURN_PPM // _MILLION, f"{coins(burned)} of the stake is burned")
    # The watcher also paid for gas, so its balance says only that it got about what is left.
    won = stake - burned - harmed
    spent = won - (after.watcher - before.watcher)
    story.must(
        0 <= spent < stake // 100,
        f"{coins(won)} goes to the watcher, who spent {coins(spent)} on gas",
    )
    story.must(rest == 0, "Disputes keeps nothing")


def check_rewards(story: Story, stage: Stage, claims: ClaimsState) -> None:
    """Require that everybody drew exactly what the last report promises, and that the rest is still there."""
    for key, claim in claims.claims.items():
        drawn = int(stage.view.rewards.read("claimed", key))
        story.must(drawn == claim.cumulative, f"{key.hex()[:8]} has drawn its {coins(drawn)}")
    funded = int(stage.view.rewards.read("total_funded"))
    claimed = int(stage.view.rewards.read("total_claimed"))
    kept = stage.balance(stage.network.contracts.rewards)
    story.must(
        funded == claimed + kept,
        f"funded {coins(funded)} = drawn {coins(claimed)} + still in the contract {coins(kept)}",
    )
