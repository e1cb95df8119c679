"""A system on an embedded chain, as separate processes: chain, Nym-Apis, aggregator; then everything is checked and shown.

The same command on the same data directory goes on where it stopped, unless it stopped for so long that too many epochs
would have to be committed empty: the contract takes no gaps.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from meridian.audit.evidence import State, first_broken
from meridian.errors import InvalidInput, Reverted
from meridian.journey.host import taken_directory
from meridian.journey.processes import Event, module_command
from meridian.node.audit_sources import CHAIN_FILE, open_source
from meridian.node.chain_view import ChainView
from meridian.node.evaluator.safety import set_up
from meridian.nym.network import CHAIN_ID, NymNetwork
from meridian.nym.onchain import setup, uptime
from meridian.nym.onchain.calendar import ChainClock, calendar_of
from meridian.nym.onchain.evidence import ChainCase, audit_chain_epoch
from meridian.nym.rows import summary
from meridian.nym.run import NymResult, NymRun, summary_of
from meridian.nym.stored import StoredSystem
from meridian.primitives.ids import Address, address_text

LEAD_S: Final = 6
"""A new system's first epoch begins so long after its chain runs, and later for many mixnodes: it is set up meanwhile."""
MIXNODES_PER_S: Final = 100
GAP_MAX: Final = 200
"""Epochs that may have passed while nothing ran."""
FUND_ATTEMPTS: Final = 5
EPOCH_OVER: Final = "rewards: over"
"""The reason of the contract for funds that come after the first epoch that they are for."""


class ChainRun(NymRun):
    """One run of one data directory; see `run.NymRun`."""

    def run(self) -> NymResult:
        """Run to the end of the last epoch, stop everything, and check all of it from chain and publications."""
        with taken_directory(self._options.data_dir):
            network = self._network()
            with StoredSystem(self._options.data_dir) as stored:
                findings, seen = stored.findings(), stored.seen()
            self._found = {f"nym-api-{n}": set(found) for n, found in findings.items()}
            self._accepted = set().union(*self._found.values())
            wanted = sorted(seen)[: self._options.epochs]
            if len(wanted) == self._options.epochs and all(map(self._is_done, wanted)):
                self._watcher.note("all epochs are settled already")
            else:
                wanted = self._run_epochs(network, seen)
            return self._chain_result(network, wanted)

    def _run_epochs(self, network: NymNetwork, seen: set[int]) -> list[int]:
        """Run to the end of the last wanted epoch; in those of `seen` some Nym-Api ran before."""
        genesis_s = network.chain_genesis_s
        assert genesis_s is not None, "a system on a chain has a genesis"
        current = max(0, int(time.time() - genesis_s) // network.epoch_seconds)
        last = max(self._accepted, default=0)
        if current - last > GAP_MAX:
            raise InvalidInput(
                "--data-dir",
                f"{current - last} epochs have passed since it stopped, and the contract takes no gaps;"
                f" at most {GAP_MAX} are made up for: give another directory",
            )
        with self._chain(network) as (work, view):
            calendar = calendar_of(view)
            genesis_s = calendar.genesis_s
            wanted = self._funded_plan(work, view, seen)
            self._work(genesis_s, wanted)
        return wanted

    def _funded_plan(self, work: setup.ChainSetup, view: ChainView, seen: set[int]) -> list[int]:
        """Plan this run's epochs and fund them; an epoch that ends before its funds arrive is planned anew."""
        calendar = calendar_of(view)
        for attempt in range(FUND_ATTEMPTS):
            running = max(0, ChainClock(calendar).epoch())
            wanted = self._plan(calendar.genesis_s, seen)
            try:
                work.fund(view, running, wanted[-1])
            except Reverted as error:
                if error.reason != EPOCH_OVER or attempt + 1 == FUND_ATTEMPTS:
                    raise
            else:
                break
        return wanted

    # -- what there is ----------------------------------------------------------------------------

    def _contract(self) -> Address:
        return setup.evaluations_address(setup.Accounts.load(self._layout))

    def _chain_genesis_s(self, known: NymNetwork | None) -> int | None:
        if known is not None and known.chain_genesis_s is not None:
            return known.chain_genesis_s
        return int(time.time()) + LEAD_S

    def _set_up(self, network: NymNetwork, number: int) -> None:
        set_up(self._layout.api(number), network.realm.network, network.address(number))

    # -- processes --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _chain(self, network: NymNetwork) -> Iterator[tuple[setup.ChainSetup, ChainView]]:
        """Run all processes as long as the context lasts."""
        with self._stopping(), contextlib.ExitStack() as stack:
            self._watcher.progress("start the chain", 0, 1)
            url = self._start_chain(network)
            self._watcher.progress("start the chain", 1, 1)
            if not setup.is_begun(self._options.data_dir):
                network = self._begin(network)
            work = setup.ChainSetup(self._options.data_dir, network, url)
            stack.callback(work.close)
            view = work.run(lambda done, total: self._watcher.progress("register", done, total))
            if not self._children.keys() >= {f"nym-api-{n}" for n in network.numbers}:
                self._start_apis(network)
            self._start("aggregator", "meridian.nym.onchain.aggregator")
            for child in self._children.values():
                child.wait_ready()
            yield work, view

    def _begin(self, network: NymNetwork) -> NymNetwork:
        """Fix the genesis of a new system, and start its Nym-Apis, which wait for the contracts."""
        genesis_s = int(time.time()) + LEAD_S + network.mixnodes // MIXNODES_PER_S
        network = msgspec.structs.replace(network, chain_genesis_s=genesis_s)
        network.save(self._options.data_dir)
        for number in network.numbers:
            self._start_api(number)
        return network

    def _start_chain(self, network: NymNetwork) -> str:
        database = self._options.data_dir / CHAIN_FILE
        database.parent.mkdir(parents=True, exist_ok=True)
        accounts = (*setup.Accounts.load(self._layout).addresses, *network.members)
        command = module_command(
            "meridian.node.chain.embedded",
            "--db",
            str(database),
            "--port",
            str(network.contract_port),
            "--chain-id",
            str(CHAIN_ID),
            "--alloc",
            ",".join(address_text(account) for account in accounts),
        )
        return str(self._start_child("chain", command).wait_ready()["url"])

    def _start_api(self, number: int) -> None:
        self._start(f"nym-api-{number}", "meridian.nym.onchain.api", "--number", str(number))

    def _on_event(self, process: str, event: Event) -> None:
        match event.get("event"):
            case "published":
                epoch = int(event["epoch"])
                self._accepted.add(epoch)
                self._found.setdefault(process, set()).add(epoch)
                self._say(f"epoch {epoch}: settled by {event['transmitter'][:10]}…")
            case "mismatch":
                self._say(f"{process}: epoch {event['epoch']}: the accepted report does not follow")
            case _:
                super()._on_event(process, event)

    # -- the end ----------------------------------------------------------------------------------

    def _chain_result(self, network: NymNetwork, wanted: list[int]) -> NymResult:
        problems: list[str] = []
        epochs = []
        with open_source(self._options.data_dir) as source:
            for epoch in wanted:
                case, links = audit_chain_epoch(source, epoch, network)
                broken = first_broken(links)
                if broken is not None:
                    problems.append(f"epoch {epoch}: {broken.name}: {broken.detail}")
                if any(link.state is not State.HOLDS for link in links):
                    continue
                epochs.append(_document(case, network, [link.name for link in links]))
        shown = summary_of(network) | {"chain": True, "epochs": epochs, "problems": problems}
        return NymResult(shown, problems)


def _document(case: ChainCase, network: NymNetwork, links: list[str]) -> dict[str, Any]:
    """Return what became of an epoch whose every link holds."""
    rewards = uptime.values_of(case.weights, network.mixnodes)
    winner = Address(case.reported.transmitter)
    _, record = case.records[0]
    end_s = case.source.network.genesis_s + (case.epoch + 1) * case.source.network.epoch_seconds
    return {
        "epoch": case.epoch,
        "winner": address_text(winner),
        "winner_number": network.number(winner),
        "rows": len(case.rows),
        "senders": [address_text(sender) for sender, _ in case.rows],
        "signers": [address_text(signer) for signer, _ in record.signatures],
        "report_signers": len(record.signatures),
        "block_hash": "0x" + case.block.hash.hex(),
        "report_hash": "0x" + case.reported.report_hash.hex(),
        "latency_ms": (case.reported.unlock_at - setup.CHALLENGE_S - end_s) * 1000,
        "rewards": list(rewards),
        "amounts_atto": [str(amount) for amount in case.outcome.amounts],
        "summary": summary(rewards),
        "links": links,
        "verified": True,
        "problems": [],
    }
