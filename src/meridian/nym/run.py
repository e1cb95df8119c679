"""A system as separate processes: contract and Nym-Apis, for a number of epochs, then everything is checked and shown.

The Nym-Apis start first and wait for the contract, whose first start sets the genesis: so every process is up when the
first epoch begins. The same command on the same data directory goes on where it stopped.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, NotFound
from meridian.journey.host import free_port, taken_directory
from meridian.journey.processes import Child, Event, module_command
from meridian.journey.watching import Watcher
from meridian.node.ephemera.home import Home
from meridian.node.evaluator.safety import set_up
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.nym.acceptance import Mode
from meridian.nym.network import (
    APIS_MAX,
    ApiEntry,
    NymLayout,
    NymNetwork,
    contract_address,
)
from meridian.nym.outcome import epoch_document
from meridian.nym.stored import StoredSystem
from meridian.primitives.ids import Address, address_text

NETWORK: Final = "nym-simulation"
SETTLE_TIMEOUT_S: Final = 60.0
EPOCHS_MAX: Final = 100_000
USED_BY_OTHERS: Final = frozenset({"contract", "chain"})
_POLL_S: Final = 0.1

DEFAULT_AGGREGATE: Final = {Mode.STANDALONE: "mean", Mode.RACE: "mean", Mode.QUORUM: "wmedian"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NymOptions:
    """What a run may be asked for."""

    data_dir: Path
    mode: Mode
    apis: int = 4
    mixnodes: int = 5
    epochs: int = 3
    epoch_seconds: int = 10
    seed: int = 1
    aggregate: str | None = None
    """None: the mode's own."""
    liars: int = 0
    kill_api: bool = False
    """Kill the last Nym-Api with SIGKILL in the middle of the run, and start it again an epoch later."""
    settle_timeout_s: float = SETTLE_TIMEOUT_S
    """How long after its end an epoch may stay without a result, at least two epochs."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; the option is named."""
        if not 1 <= self.apis <= APIS_MAX:
            raise InvalidInput("--apis", f"{self.apis} is not in 1..{APIS_MAX}")
        if not 1 <= self.epochs <= EPOCHS_MAX:
            raise InvalidInput("--epochs", f"{self.epochs} is not in 1..{EPOCHS_MAX}")
        if not 0 <= self.liars <= self.apis:
            raise InvalidInput("--liars", f"{self.liars} of {self.apis} Nym-Apis cannot lie")
        if self.kill_api and (self.epochs < 3 or self.apis < 4):
            raise InvalidInput("--kill-api", "needs three epochs and four Nym-Apis")


@dataclass(slots=True)
class NymResult:
    """What a run did."""

    document: dict[str, Any]
    """``{"mode", "epochs": [...], "problems": [...]}``"""
    problems: list[str] = field(default_factory=list)
    """Epochs without a result, and checks that failed."""


class NymRun:
    """One run of one data directory."""

    def __init__(self, options: NymOptions, watcher: Watcher) -> None:
        self._options = options
        self._watcher = watcher
        self._layout = NymLayout(options.data_dir)
        self._children: dict[str, Child] = {}
        self._resting: set[str] = set()
        """Children that we killed ourselves."""
        self._accepted: set[int] = set()
        self._found: dict[str, set[int]] = {}
        self._said: set[str] = set()

    def run(self) -> NymResult:
        """Run to the end of the last epoch, stop everything, and check all of it from what is stored.

        Raises:
            InvalidInput: If the directory holds another system, or is in use.
            RemoteFault: If a process ends that should run.
        """
        with taken_directory(self._options.data_dir):
            network = self._network()
            with StoredSystem(self._options.data_dir) as stored:
                settled, pending = stored.settled(), stored.pending()
                findings = stored.findings()
            self._accepted = set(settled)
            self._found = {f"nym-api-{n}": set(found) for n, found in findings.items()}
            wanted = sorted(pending | set(settled))[: self._options.epochs]
            if len(settled) >= self._options.epochs and not pending & set(wanted):
                self._watcher.note("all epochs are settled already")
            else:
                with self._processes(network) as genesis_s:
                    wanted = self._plan(genesis_s, set(settled) | pending)
                    self._work(genesis_s, wanted)
            return self._result(wanted)

    # -- what there is ----------------------------------------------------------------------------

    def _network(self) -> NymNetwork:
        """Read or make the description; ports are kept where they are free."""
        options, root = self._options, self._options.data_dir
        try:
            known = NymNetwork.load(root)
        except NotFound:
            known = None
        ports = [free_port(known.contract_port if known else 0)]
        for number in range(1, options.apis + 1):
            wanted = known.apis[number - 1].port if known and number <= len(known.apis) else 0
            ports.append(free_port(wanted, ports))
        network = NymNetwork(
            network=NETWORK,
            mode=options.mode,
            aggregate=options.aggregate or DEFAULT_AGGREGATE[options.mode],
            seed=options.seed,
            mixnodes=options.mixnodes,
            epoch_seconds=options.epoch_seconds,
            liars=options.liars,
            contract=address_text(self._contract()),
            contract_port=ports[0],
            chain_genesis_s=self._chain_genesis_s(known),
            apis=tuple(self._entry(number, ports[number]) for number in self._numbers),
        )
        if known is not None:
            _refuse_other(known, network)
        network.save(root)
        for number in network.numbers:
            self._set_up(network, number)
        return network

    def _contract(self) -> Address:
        return contract_address(NETWORK)

    def _chain_genesis_s(self, known: NymNetwork | None) -> int | None:
        del known
        return None

    def _set_up(self, network: NymNetwork, number: int) -> None:
        """Make the directory of a Nym-Api that has never signed anything."""
        own, member = network.realm.network, network.address(number)
        if network.mode is Mode.QUORUM:
            set_up(self._layout.api(number), own, member)
        elif network.mode is Mode.RACE:
            Home.set_up(self._layout.ephemera(number), network=own, member=member)

    @property
    def _numbers(self) -> range:
        return range(1, self._options.apis + 1)

    def _entry(self, number: int, port: int) -> ApiEntry:
        key = load_or_create_key(self._layout.key(f"api-{number}"))
        seed = load_or_create_secret(self._layout.key(f"link-{number}"))
        return ApiEntry(
            address=address_text(key.address),
            link_key=link_identity(seed).link_key.hex(),
            port=port,
        )

    # -- processes --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _processes(self, network: NymNetwork) -> Iterator[int]:
        """Run all processes as long as the context lasts; yields the genesis."""
        with self._stopping():
            self._start_apis(network)
            ready = self._start("contract", "meridian.nym.contract").wait_ready()
            yield int(ready["genesis_s"])

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop all children at the end of the context, whatever happens; what the others use goes last."""
        try:
            yield
        finally:
            running = [c for c in self._children.values() if c.name not in self._resting]
            users = [child for child in running if child.name not in USED_BY_OTHERS]
            for child in users:
                child.terminate()
            for child in [*users, *(c for c in running if c.name in USED_BY_OTHERS)]:
                # A second Ctrl-C must not leave the others behind.
                with contextlib.suppress(KeyboardInterrupt):
                    child.stop()

    def _start_apis(self, network: NymNetwork) -> None:
        """Start all Nym-Apis, and wait until every one is ready."""
        self._watcher.progress("start the Nym-Apis", 0, 1)
        for number in network.numbers:
            self._start_api(number)
        for child in self._children.values():
            child.wait_ready()
        self._watcher.progress("start the Nym-Apis", 1, 1)

    def _start_api(self, number: int) -> None:
        self._start(f"nym-api-{number}", "meridian.nym.api", "--number", str(number))

    def _start(self, name: str, module: str, *arguments: str) -> Child:
        where = str(self._options.data_dir)
        return self._start_child(name, module_command(module, "--data-dir", where, *arguments))

    def _start_child(self, name: str, command: Sequence[str]) -> Child:
        child = Child(name, command, self._layout.log(name), self._on_event)
        self._children[name] = child
        self._resting.discard(name)
        return child

    def _on_event(self, process: str, event: Event) -> None:
        match event.get("event"):
            case "accepted":
                self._accepted.add(int(event["epoch"]))
                self._say(f"epoch {event['epoch']}: settled by {event['winner'][:10]}…")
            case "finding":
                self._found.setdefault(process, set()).add(int(event["epoch"]))
                if not event["holds"]:
                    self._say(f"{process}: epoch {event['epoch']} does not hold: {event['detail']}")
            case "refused" | "misbehaviour":
                details = {key: value for key, value in event.items() if key != "event"}
                self._say(f"{process}: {event['event']}: {details}")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._watcher.note(text)

    # -- epochs -----------------------------------------------------------------------------------

    def _plan(self, genesis_s: int, known: set[int]) -> list[int]:
        """Return the epochs of this run: those that were begun before, then whole ones; a new system starts at once."""
        current = int(time.time() - genesis_s) // self._options.epoch_seconds
        first = current + 1 if known else max(0, current)
        count = self._options.epochs
        return sorted(known | set(range(first, first + count)))[:count]

    def _work(self, genesis_s: int, wanted: list[int]) -> None:
        """Wait until every wanted epoch is settled and checked by every Nym-Api, or is overdue."""
        length_s = self._options.epoch_seconds
        patience_s = max(self._options.settle_timeout_s, 2.0 * length_s)
        begun_s = time.time()
        overdue_s = max(begun_s, genesis_s + (wanted[-1] + 1) * length_s) + patience_s
        kill_at_s = genesis_s + (wanted[len(wanted) // 2] + 0.5) * length_s
        revive_at_s = kill_at_s + length_s
        shown = -1
        while time.time() < overdue_s:
            for name, child in list(self._children.items()):
                if name not in self._resting:
                    child.check()
            if self._options.kill_api:
                self._kill_and_revive(kill_at_s, revive_at_s)
            done = sum(self._is_done(epoch) for epoch in wanted)
            if done != shown:
                shown = done
                self._watcher.progress("epochs settled and checked", done, len(wanted))
            if done == len(wanted):
                return
            time.sleep(_POLL_S)

    def _is_done(self, epoch: int) -> bool:
        names = [f"nym-api-{number}" for number in self._numbers]
        return epoch in self._accepted and all(
            epoch in self._found.get(name, set()) for name in names
        )

    def _kill_and_revive(self, kill_at_s: float, revive_at_s: float) -> None:
        number = self._options.apis
        name = f"nym-api-{number}"
        if time.time() >= revive_at_s:
            if name in self._resting:
                self._watcher.note(f"{name} starts again and catches up")
                self._start_api(number)
        elif time.time() >= kill_at_s and name not in self._resting:
            self._resting.add(name)
            self._children[name].kill()
            self._watcher.note(f"{name} killed with SIGKILL")

    # -- the end ----------------------------------------------------------------------------------

    def _result(self, wanted: list[int]) -> NymResult:
        """Check every epoch from stored data, as an outsider would."""
        problems: list[str] = []
        epochs = []
        with StoredSystem(self._options.data_dir) as stored:
            for epoch in wanted:
                try:
                    document = epoch_document(stored, epoch)
                except NotFound:
                    problems.append(f"epoch {epoch} was not settled")
                    continue
                problems += [f"epoch {epoch}: {text}" for text in document["problems"]]
                epochs.append(document)
            summary = summary_of(stored.network)
        return NymResult(summary | {"epochs": epochs, "problems": problems}, problems)


def summary_of(network: NymNetwork) -> dict[str, Any]:
    """Return what a system is, for documents and to tell it from another."""
    return {
        "mode": network.mode.value,
        "aggregate": network.aggregate,
        "apis": len(network.apis),
        "mixnodes": network.mixnodes,
        "epoch_seconds": network.epoch_seconds,
        "seed": network.seed,
        "liars": network.liars,
        "chain": network.chain_genesis_s is not None,
    }


def _refuse_other(known: NymNetwork, ours: NymNetwork) -> None:
    """Refuse a data directory that holds another system, before anything is started."""
    theirs: Mapping[str, Any] = summary_of(known)
    for name, value in summary_of(ours).items():
        if theirs[name] != value:
            raise InvalidInput(
                "--data-dir",
                f"the system there has {name} {theirs[name]}, not {value}; give another directory",
            )
