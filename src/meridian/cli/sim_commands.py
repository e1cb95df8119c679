"""`meridian sim`: worlds of the agreement, mutants of the protocol, and the traces of single seeds."""

import json
import time
from collections.abc import Sequence
from typing import Any

import click

from meridian.cli.progress import ProgressDisplay
from meridian.sim import batch, broadcast_world, mutants, reach, twins
from meridian.sim.aims import FAMILIES, NODES_MIN, draw_aimed, run_world
from meridian.sim.batch import Tally
from meridian.sim.broadcast_world import run_broadcast_seed
from meridian.sim.faults import draw, rng_of

BROKEN = 1
NODES_MAX = 31
SHOWN_MAX = 5
"""Violations that are printed in full."""

SCENARIOS_PER_TASK = 40

EPILOG = """\b
Examples:
  meridian sim                                        5,000 worlds of four members
  meridian sim --nodes 7 --seeds 1000 --first-seed 5000
  meridian sim --nodes 7 --replay 5017                what happened in one of them, line by line
  meridian sim --aim crashes --seeds 400              faults where one class of bugs lives
  meridian sim --twins                                every small attack of one equivocator
  meridian sim --broadcast --seeds 1000               worlds of reliable broadcast, blocks and store
  meridian sim --mutants                              does the simulator see? every broken protocol must fail

A seed is a world: network, disks, clocks, crashes and liars are drawn from it, and the members run the same core
as in production. Every world must keep the laws: agreement, validity, inclusion, no contradiction, nobody framed, no
exception; and, once the network is calm, a decision by every member that is left. docs/simulator.md tells more.

\b
Exit codes: 0 nothing found, 1 a law was broken or a mutant survived (the seed is printed), 130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--seeds", type=click.IntRange(1), default=5_000, show_default=True, help="Worlds to run."
)
@click.option(
    "--nodes", type=click.IntRange(1, NODES_MAX), default=4, show_default=True, help="Members."
)
@click.option(
    "--first-seed", type=click.IntRange(0), default=0, show_default=True, help="Where to begin."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes.  [default: one for each core]")
@click.option(
    "--replay", type=click.IntRange(0), metavar="SEED", help="Print the trace of one seed."
)
@click.option(
    "--broadcast", is_flag=True, help="Worlds of reliable broadcast instead of the agreement."
)
@click.option(
    "--aim",
    type=click.Choice(tuple(FAMILIES)),
    help="Worlds with faults where one class of bugs lives; four members or more.",
)
@click.option("--twins", "exhaust", is_flag=True, help="Explore all two-view attacks of a twin.")
@click.option("--mutants", "mutate", is_flag=True, help="Kill every mutant of the protocol.")
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=mutants.BUDGET,
    show_default=True,
    help="Seeds that a mutant may survive.",
)
@click.option("--fresh", is_flag=True, help="Search for the mutants' killers again, from seed 0.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def sim(
    seeds: int,
    nodes: int,
    first_seed: int,
    jobs: int | None,
    replay: int | None,
    broadcast: bool,
    aim: str | None,
    exhaust: bool,
    mutate: bool,
    budget: int,
    fresh: bool,
    as_json: bool,
) -> None:
    """Run agreement or broadcast in seeded worlds: bad networks, crashes, lost disks, jumping clocks, liars."""
    jobs = batch.cores() if jobs is None else jobs
    if (replay is not None) + exhaust + mutate > 1:
        raise click.UsageError("--replay, --twins and --mutants exclude each other")
    if broadcast and (exhaust or mutate or aim):
        raise click.UsageError(
            "--twins, --mutants and --aim are of the agreement, not of --broadcast"
        )
    if aim and (exhaust or mutate or nodes < NODES_MIN):
        raise click.UsageError(f"--aim needs {NODES_MIN} members, and no --twins or --mutants")
    if replay is not None:
        good = _replay(replay, nodes, broadcast=broadcast, aim=aim or "", as_json=as_json)
    elif exhaust:
        good = _twins(jobs, as_json=as_json)
    elif mutate:
        good = _mutants(jobs, budget, fresh=fresh, as_json=as_json)
    else:
        chosen = range(first_seed, first_seed + seeds)
        good = _worlds(nodes, chosen, jobs, broadcast=broadcast, aim=aim or "", as_json=as_json)
    if not good:
        raise click.exceptions.Exit(BROKEN)


def _worlds(
    nodes: int, seeds: range, jobs: int, *, broadcast: bool, aim: str, as_json: bool
) -> bool:
    began_s = time.monotonic()
    with ProgressDisplay(quiet=as_json) as display:
        tally = batch.run_batch(
            nodes,
            seeds,
            jobs,
            lambda done, all_: display.progress("worlds", done, all_),
            broadcast=broadcast,
            aim=aim,
        )
    seconds = time.monotonic() - began_s
    if as_json:
        document = _document(nodes, seeds, tally, seconds)
        if broadcast:  # it has neither views nor the agreement's list of rare things
            del document["view_max"], document["never"]
        click.echo(json.dumps(document))
        return not tally.violations
    for _, text in tally.violations[:SHOWN_MAX]:
        click.echo(f"broken: {text}")
    if broadcast:
        for name, count in sorted(tally.reached.items()):
            click.echo(f"  {count:>11,}  {name}")
    else:
        _print_reached(tally)
    views = "" if broadcast else f", views up to {tally.view_max}"
    click.echo(
        f"{tally.worlds:,} worlds of {nodes} members ({tally.real_signatures:,} with real signatures) in"
        f" {seconds:.1f} s: {tally.events:,} events, {tally.virtual_ms / 1000:,.0f} virtual seconds{views}"
    )
    click.echo(f"seeds {seeds.start}..{seeds.stop - 1}, trace {tally.trace_hash()}")
    click.echo(f"violations: {len(tally.violations)}")
    return not tally.violations


def _document(nodes: int, seeds: range, tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "first_seed": seeds.start,
        "worlds": tally.worlds,
        "real_signatures": tally.real_signatures,
        "seconds": round(seconds, 1),
        "events": tally.events,
        "virtual_ms": tally.virtual_ms,
        "view_max": tally.view_max,
        "trace_hash": tally.trace_hash(),
        "traces": dict(tally.traces),
        "reached": dict(sorted(tally.reached.items())),
        "never": reach.never(tally.reached),
        "violations": [{"seed": seed, "text": text} for seed, text in tally.violations],
    }


def _print_reached(tally: Tally) -> None:
    click.echo("how often the rare things happened:")
    for name, count in reach.rare(tally.reached):
        click.echo(f"  {count:>11,}  {name}")
    branches = reach.branches(tally.reached)
    click.echo(f"refusals, {len(branches)} branches:")
    for name, count in branches:
        click.echo(f"  {count:>11,}  {name}")
    for name in reach.never(tally.reached):
        click.echo(f"  never here: {name}")


def _replay(seed: int, nodes: int, *, broadcast: bool, aim: str, as_json: bool) -> bool:
    lines: list[tuple[int, int, str]] = []
    if not as_json:
        click.echo(_drawn(seed, nodes, broadcast=broadcast, aim=aim))

    def watch(at_ms: int, participant: int, what: str) -> None:
        if as_json:
            lines.append((at_ms, participant, what))
        else:
            click.echo(f"{at_ms:>7} ms  {participant:>2}  {what}")

    result = (
        run_broadcast_seed(seed, nodes, watch) if broadcast else run_world(aim, seed, nodes, watch)
    )
    if as_json:
        document = {
            "seed": seed,
            "nodes": nodes,
            "plan": result.plan.describe(),
            "trace": lines,
            "trace_hash": result.trace_hash,
            "violations": result.violations,
        }
        click.echo(json.dumps(document))
    else:
        for text in result.violations:
            click.echo(f"broken: {text}")
        click.echo(f"violations: {len(result.violations)}")
        click.echo(f"trace {result.trace_hash}")
    return not result.violations


def _drawn(seed: int, nodes: int, *, broadcast: bool, aim: str) -> str:
    if broadcast:
        return broadcast_world.draw(rng_of(seed), seed, nodes).describe()
    return (draw_aimed(aim, seed, nodes) if aim else draw(rng_of(seed), seed, nodes)).describe()


def _twins(jobs: int, *, as_json: bool) -> bool:
    every = twins.scenarios()
    tasks = [every[at : at + SCENARIOS_PER_TASK] for at in range(0, len(every), SCENARIOS_PER_TASK)]
    began_s, done, early, wrong = time.monotonic(), 0, 0, list[str]()
    with ProgressDisplay(quiet=as_json) as display:
        for found in batch.spread(twins.explore, tasks, jobs):
            done += found.scenarios
            early += found.decided_early
            wrong += found.violations
            display.progress("scenarios", done, len(every))
    seconds = time.monotonic() - began_s
    if as_json:
        document = {"scenarios": done, "decided_early": early, "violations": wrong}
        click.echo(json.dumps({**document, "seconds": round(seconds, 1)}))
        return not wrong
    for text in wrong[:SHOWN_MAX]:
        click.echo(f"broken: {text}")
    click.echo(
        f"{done:,} scenarios (all) in {seconds:.1f} s; decided in a divided view in {early:,} of them"
    )
    click.echo(f"violations: {len(wrong)}")
    return not wrong


def _mutants(jobs: int, budget: int, *, fresh: bool, as_json: bool) -> bool:
    tasks = [(name, budget, fresh) for name in mutants.MUTANTS]
    began_s, deaths = time.monotonic(), list[mutants.Death]()
    with ProgressDisplay(quiet=as_json) as display:
        for death in batch.spread(mutants.try_to_kill, tasks, jobs):
            deaths.append(death)
            display.progress("mutants", len(deaths), len(tasks))
    seconds = time.monotonic() - began_s
    if as_json:
        rows = [
            {"mutant": d.name, "killed": d.killed, "by": d.by, "law": d.law, "probe": d.probe}
            for d in deaths
        ]
        click.echo(json.dumps({"mutants": rows, "budget": budget, "seconds": round(seconds, 1)}))
    else:
        _print_deaths(deaths)
        worlds = sum(bool(death.law) for death in deaths)
        probes = sum(bool(death.probe) for death in deaths)
        survivors = sum(not death.killed for death in deaths)
        click.echo(
            f"{len(deaths)} mutants in {seconds:.1f} s: {worlds} die in worlds, {probes} have a probe;"
            f" survivors: {survivors}"
        )
    return all(death.killed for death in deaths)


def _print_deaths(deaths: Sequence[mutants.Death]) -> None:
    width = max(len(death.name) for death in deaths)
    for death in deaths:
        mark = "✓" if death.killed else "✗ SURVIVED"
        click.echo(f"{mark} {death.name:<{width}}  {death.by:<24}  {death.law}")
        if death.probe:
            click.echo(f"  {'':<{width}}  probe {death.probe}")
