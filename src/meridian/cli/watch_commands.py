"""`meridian watch`: check every epoch as it comes, and dispute by oneself what is wrong."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from meridian.cli.config_option import config_option
from meridian.primitives.amounts import format_fil

if TYPE_CHECKING:
    from meridian.node.watch.options import WatchOptions
    from meridian.node.watch.watcher import Watcher


def _configured(path: Path) -> dict[str, Any]:
    from meridian.node.operator_config import OperatorConfig

    return OperatorConfig.load(path).watch_options


@click.command()
@config_option(_configured, "node")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The network's directory: network.json and the publications.",
)
@click.option("--node", "node_id", default="all", show_default=True, metavar="ID",
              help="Check for this node only: that its jobs are in each commitment, that its receipts (with --gateway) are"
              " kept, and that its rewards follow. Nothing about others, so it is cheap.")  # fmt: skip
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The watcher's own directory.  [default: watcher/ in the data directory]",
)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The watcher's account.  [default: watcher.key in its directory, made when absent]",
)
@click.option(
    "--gateway",
    "gateway_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Receipts as `meridian submit` keeps them, so that omissions are found.",
)
@click.option(
    "--publication",
    "publications",
    multiple=True,
    metavar="URL|DIR",
    help="Another place where artefacts, outcomes and evidence are published; may be repeated.",
)
@click.option(
    "--bond-max-atto",
    default=0,
    show_default=True,
    help="The most that all bonds at stake may sum up to; 0: nobody is challenged.",
)
@click.option("--escalate", is_flag=True,
              help="Evaluate every epoch too, and bring before the referees, with a bond, reports that do not follow and"
              " that arithmetic cannot disprove.")  # fmt: skip
@click.option(
    "--case-url",
    default="",
    metavar="URL",
    help="Where you serve the folder `cases` of the watcher's directory to the referees.",
)
@click.option(
    "--patience-s",
    default=60.0,
    show_default=True,
    help="How long artefacts may be missing before their aggregator is challenged (or the report escalated).",
)
@click.option("--poll-s", default=1.0, show_default=True, help="Pause between two looks.")
@click.option("--observe-port", type=click.IntRange(min=0, max=65_535), metavar="PORT",
              help="Serve /healthz, /readyz, /metrics and /state on loopback; 0: any free port, see observe.json.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each event.")
def watch(
    data_dir: Path,
    node_id: str,
    state_dir: Path | None,
    key_file: Path | None,
    *,
    once: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Follow a network, prove what is wrong, and win the dispute.

    Checks every commitment and every report from the chain and the published artefacts. What can be proven by
    arithmetic is proven in one transaction; what is withheld is challenged with a bond. Ctrl-C ends it; started again,
    it goes on and sends nothing twice.
    """
    from meridian.node.watch.options import WatchOptions
    from meridian.node.watch.watcher import Watcher

    own = state_dir or data_dir / "watcher"
    options = WatchOptions(
        data_dir=data_dir,
        state_dir=own,
        key_file=key_file or own / "watcher.key",
        node_id=None if node_id == "all" else node_id,
        **values,
    )
    tell = _tell_json if as_json else _tell_text
    watcher = Watcher(options, tell)
    with (
        contextlib.suppress(KeyboardInterrupt),
        contextlib.closing(watcher),
        _observed(watcher, options),
        _ended_by_signals(watcher.stop),
    ):
        tell("ready", {"reason": f"watching {data_dir} as 0x{watcher.address.hex()}"})
        if once:
            watcher.round()
        else:
            watcher.run()


@contextlib.contextmanager
def _observed(watcher: "Watcher", options: "WatchOptions") -> Iterator[None]:
    from meridian.node.observe.point import ObservePoint

    if options.observe_port is None:
        yield
        return
    point = ObservePoint(
        "watcher", options.state_dir, watcher.look, "127.0.0.1", options.observe_port
    )
    point.start()
    try:
        yield
    finally:
        point.stop()


@contextlib.contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the command at once, as something that it is meant to do: exit code 0."""

    def end(_number: int, _frame: FrameType | None) -> None:
        # The exception ends a wait; where Python swallows it (in a finaliser), `stop` ends the loop all the same.
        stop()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_json(event: str, fields: dict[str, Any]) -> None:
    click.echo(json.dumps({"event": event} | fields, default=_plain))


def _plain(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _tell_text(event: str, fields: dict[str, Any]) -> None:
    click.echo(event_text(event, fields))


def event_text(event: str, fields: dict[str, Any]) -> str:
    """Return an event of the watcher as one line for people."""
    head = f"epoch {fields['epoch']}: " if "epoch" in fields else ""
    match event:
        case "commitment":
            whose = f" of {fields['node']}" if "node" in fields else ""
            return f"{head}commitment over {fields['jobs']} jobs{whose}: {_found(fields['faults'])}"
        case "reward":
            return head + _reward(fields)
        case "report":
            return f"{head}report 0x{fields['report'].hex()[:16]}: {_found(fields['faults'])}"
        case "accusation":
            guilty = ", ".join("0x" + one.hex() for one in fields["guilty"])
            return f"{head}{fields['kind']} against {guilty}: {_result(fields)}{_next(fields)}"
        case "resolved":
            return f"{head}nobody answered the challenge: {_result(fields)}"
        case "ruled":
            return f"{head}the referees have closed case {fields['case']}: {fields['result']}"
        case "expired":
            return f"{head}nobody ruled on case {fields['case']}: {fields['result']}"
        case "renewed":
            return f"{head}too few members are left, new ones: {fields['result']}"
        case _:
            return f"{head}{event}: {fields.get('reason', '')}"


def _found(faults: Sequence[str]) -> str:
    if not faults:
        return "nothing is wrong"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return faults[0] + more


def _reward(fields: dict[str, Any]) -> str:
    share = fields["share"]
    follows = "" if share is None else f", its share is {format_fil(share)}"
    got = f"{fields['node']} gets {format_fil(fields['amount'])} for {fields['jobs']} jobs{follows}"
    if fields["amount"] or not fields["jobs"]:
        return got
    return f"{got}: it may be deferred, and is paid later then"


def _next(fields: dict[str, Any]) -> str:
    """Return what a person can do about an accusation that was not sent, on lines of its own."""
    if "file" not in fields:
        return ""
    return f"\n  the accusation stands in {fields['file']}\n  {fields['next']}"


def _result(fields: dict[str, Any]) -> str:
    gas = f", {fields['gas']} gas" if fields["gas"] else ""
    stake = f", {fields['stake_atto']} atto of stake are gone" if fields["stake_atto"] else ""
    return f"{fields['result']} ({fields['detail']}{gas}{stake})"
