"""How a network is: its chain, the processes whose directories are here, its epochs and its disk, and what is wrong.

Read-only, and bounded: each process is asked once and within `ASK_S`. What cannot be reached is a finding, not an error.
"""

import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_status import read_status
from meridian.node.deployment_file import Deployment
from meridian.node.network_file import NetworkFile
from meridian.node.observe.observation import FILE_NAME, Announced

ASK_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 1 << 20
DEPTH: Final = 3
"""How far below a directory processes are looked for."""
EPOCHS: Final = 6
"""That are shown, and the next funded one."""
EPOCHS_READ: Final = 64
DISK_LOW_BYTES: Final = 5 << 30
CHAIN_QUIET_S: Final = 600
"""A public chain without a block for so long does not go on; the embedded one makes blocks only when asked to."""
EMBEDDED_CLIENT: Final = "meridian"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should do something about."""

    where: str
    what: str
    advice: str


def network_status(
    data_dir: Path, elsewhere: Sequence[Path] = (), now_s: float | None = None
) -> dict[str, Any]:
    """Return the JSON object of `meridian status`.

    Args:
        data_dir: Where `network.json` is; processes are looked for below it.
        elsewhere: Further directories of processes.
        now_s: The clock, seconds since the Unix epoch.

    Raises:
        NotFound: If there is no network in the directory.
    """
    now_s = time.time() if now_s is None else now_s
    network = NetworkFile.load(data_dir)
    problems: list[Problem] = []
    chain = _chain(network, now_s, problems)
    processes = [_process(found, problems) for found in _announced((data_dir, *elsewhere))]
    if not processes:
        problems.append(
            Problem(
                "processes",
                "none has said where it can be looked at",
                "start them, or name their directories with --process-dir",
            )
        )
    clock_s = _measure_clock_s(network, problems)
    if clock_s is not None:
        _delays(network, chain, clock_s, problems)
    _evaluators(processes, problems)
    return {
        "network": network.network,
        "at_s": int(now_s),
        "well": not problems,
        "problems": [
            {"where": one.where, "what": one.what, "advice": one.advice} for one in problems
        ],
        "chain": chain,
        "processes": processes,
        "epochs": [] if chain["epochs"] is None else chain.pop("epochs"),
        "disk": _disk(data_dir, chain, problems),
    }


# -- chain ----------------------------------------------------------------------------------------


def _chain(network: NetworkFile, now_s: float, problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {"url": network.rpc_url, "reached": False, "epochs": None}
    client = Rpc(network.rpc_url, ASK_S)
    deployment = Deployment(
        network=network.network,
        chain_id=network.chain_id,
        rpc_url=network.rpc_url,
        contracts=network.contracts,
        deploy_block=network.deploy_block,
    )
    try:
        status = read_status(client, deployment, EPOCHS_READ)
    except MeridianError as error:
        advice = "start the chain or its endpoint; everybody waits for it and goes on by itself"
        problems.append(Problem("chain", str(error), advice))
        return found
    finally:
        client.close()
    age_s = max(0, int(now_s) - status["time_s"])
    if not status["client"].lower().startswith(EMBEDDED_CLIENT) and age_s > CHAIN_QUIET_S:
        what = f"its newest block is {age_s} s old"
        problems.append(Problem("chain", what, "its endpoint does not follow the chain"))
    if status["disputes"] is not None:
        for one in status["disputes"]["challenges"]:
            what = f"a challenge of epoch {one['epoch']} is open until {one['until_s']}"
            advice = "the aggregator has to answer: see `meridian chain dispute`"
            problems.append(Problem("disputes", what, advice))
    begun = [row for row in status["epochs"] if row["state"] != "funded"]
    return found | {
        "reached": True,
        "client": status["client"],
        "block": status["block"],
        "block_age_s": age_s,
        "term": status["term"],
        "next_epoch": status["calendar"]["next_to_open"],
        "funded_through": status["funds"]["funded_through"],
        "evaluators": [one["address"] for one in status["evaluators"] if one["state"] == "active"],
        "epochs": begun[-EPOCHS:] + [row for row in status["epochs"] if row not in begun][:1],
    }


# -- processes ------------------------------------------------------------------------------------


def _announced(roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the files in which processes say where they are, in order."""
    for root in roots:
        for depth in range(DEPTH + 1):
            yield from sorted(root.glob("/".join(["*"] * depth + [FILE_NAME])))


def _process(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        announced = Announced.load(path)
    except (NotFound, InvalidInput) as error:
        problems.append(
            Problem(str(path), str(error), "delete the file; its process makes it anew")
        )
        return {"process": str(path), "url": None, "state": "unknown", "detail": {}}
    found: dict[str, Any] = {"process": announced.process, "url": announced.url}
    try:
        health = ask(announced.url, "/healthz")
        ready = ask(announced.url, "/readyz")
        detail = ask(announced.url, "/state")
        status, is_ready = health["status"], ready["ready"]
    except KeyError as error:
        why = f"something else answers at {announced.url}: it says no {error}"
        advice = f"the process has ended; start it again ({path.parent})"
        problems.append(Problem(announced.process, why, advice))
        return found | {"state": "down", "detail": {}}
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (
            "it was ended, or killed"
            if not _runs(announced.pid)
            else f"it does not answer: {error}"
        )
        advice = f"its log says why; start it again, it goes on where it stopped ({path.parent})"
        problems.append(Problem(announced.process, why, advice))
        return found | {"state": "down", "detail": {}}
    state = "failed" if status != "ok" else "ready" if is_ready else "waiting"
    problem = health.get("problem") or ready.get("problem")
    if state != "ready" or problem:
        advice = _ADVICE.get(state, "it goes on by itself when this is over; see its log")
        problems.append(Problem(announced.process, str(problem or state), advice))
    return found | {"state": state, "problem": problem, "detail": detail}


_ADVICE: Final = {"failed": "it can promise nothing any more: mend the cause, and start it again"}


def ask(url: str, path: str) -> dict[str, Any]:
    """Return the JSON object at a path of a process, whatever its status."""
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError(f"{url} is not an http or https URL")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=ASK_S)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        document = json.loads(connection.getresponse().read(ANSWER_BYTES_MAX))
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise ValueError(f"{url}{path} is no JSON object")  # noqa: TRY004 - a bad value of a stranger
    return document


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- what follows from both -----------------------------------------------------------------------


def _measure_clock_s(network: NetworkFile, problems: list[Problem]) -> float | None:
    """Return the clock by which epochs end: that of the measure service, which may replay the past."""
    try:
        return int(ask(network.measure_url, "/state")["clock_us"]) / 1e6
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        what = f"{network.measure_url} does not answer: {error}"
        problems.append(
            Problem("measure", what, "no job is taken, and no epoch ends, until it does")
        )
        return None


def _delays(
    network: NetworkFile,
    chain: dict[str, Any],
    now_s: float,
    problems: list[Problem],
) -> None:
    """Find epochs that should be further than they are."""
    if chain["epochs"] is None:
        return
    for row in chain["epochs"]:
        end_s = network.genesis_s + (row["epoch"] + 1 - network.first_epoch) * network.epoch_seconds
        late_s = now_s - end_s - max(60, network.epoch_seconds)
        if (
            late_s > 0
            and row["state"] in {"open", "committed"}
            and row["epoch"] < chain["next_epoch"]
        ):
            missing = "no commitment" if row["state"] == "open" else "no report"
            who = "the measure service" if row["state"] == "open" else "the evaluators"
            problems.append(
                Problem(
                    f"epoch {row['epoch']}",
                    f"{missing} {int(now_s - end_s)} s after its end",
                    f"look at {who}",
                )
            )


def _evaluators(processes: Sequence[dict[str, Any]], problems: list[Problem]) -> None:
    connected = [one for one in processes if one["process"].startswith("evaluator")]
    waiting = [one for one in connected if one["state"] != "ready"]
    if connected and len(waiting) * 3 >= len(connected):
        what = f"{len(waiting)} of {len(connected)} evaluators here cannot work"
        problems.append(Problem("evaluators", what, "no epoch is decided without two thirds"))


def _disk(data_dir: Path, chain: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    usage = shutil.disk_usage(data_dir)
    used = sum(_sizes(data_dir))
    done = chain.get("next_epoch", 0)
    per_epoch = used // done if done else None
    left = usage.free // per_epoch if per_epoch else None
    if usage.free < DISK_LOW_BYTES:
        advice = (
            "prune old artefacts, or give it a larger disk: a full disk stops the measure service"
        )
        problems.append(Problem("disk", f"{usage.free >> 20} MiB are free", advice))
    return {
        "free_bytes": usage.free,
        "used_bytes": used,
        "bytes_each_epoch": per_epoch,
        "epochs_until_full": left,
    }


def _sizes(root: Path) -> Iterator[int]:
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                yield (Path(folder) / name).stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
