"""What a contract with `job_sums` shows of itself: terms, jobs, sums, and the transactions that brought them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, RemoteFault, Reverted
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.metering import answers, transactions
from meridian.models.job_sums import EpochSums, Job, Terms
from meridian.models.plain_sums import VALUE_MAX
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.ids import Address, address_text, parse_address

WORDS_PER_CALL: Final = 1024
GRACE_SECONDS: Final = 0
"""Of the contracts that runs deploy: their jobs are replayed, so all epochs have long ended."""


class SumsState(NamedTuple):
    """What ``state_of`` says."""

    first: int
    jobs: int
    evaluated: int
    total: int
    nodes: int


@dataclass(slots=True)
class EpochHistory:
    """What successful transactions did with an epoch."""

    jobs: list[Job] = field(default_factory=list)
    """As they were sent, in chain order."""
    gas: dict[str, int] = field(default_factory=dict)
    """Function -> gas."""


class SumsChain:
    """Reads of one contract.

    Args:
        client: The chain.
        address: The contract.
        name: Of its artefact.
    """

    def __init__(self, client: ChainClient, address: Address, name: str) -> None:
        self.client = client
        self.name = name
        self.contract = Contract(client, address, load(name))

    def code(self) -> bytes:
        """Return the code at its address; empty where there is none."""
        address = address_text(self.contract.address)
        return bytes.fromhex(self.client.call("eth_getCode", address, "latest")[2:])

    def terms(self) -> Terms | None:
        """Return what it was deployed with; None where it is another contract, or none."""
        names = ("genesis", "epoch_seconds", "first_epoch", "grace_seconds", "value_max")
        try:
            genesis, seconds, first, grace, most = (self.contract.read(name) for name in names)
        except (Reverted, RemoteFault):
            return None
        return Terms(
            genesis_s=genesis,
            epoch_seconds=seconds,
            first_epoch=first,
            grace_seconds=grace,
            value_max=most,
        )

    def state(self, epoch: int, block: int | str = "latest") -> SumsState:
        """Return how far an epoch is, at a block."""
        return SumsState(*self.contract.read("state_of", epoch, block=block))

    def open_epoch(self, block: int | str = "latest") -> int:
        """Return the epoch that takes jobs, at a block."""
        return int(self.contract.read("open_epoch", block=block))

    def words(self, first: int, count: int) -> list[int]:
        """Return the words of jobs, by their numbers."""
        found: list[int] = []
        while len(found) < count:
            more = min(count - len(found), WORDS_PER_CALL)
            found += self.contract.read("job_range", first + len(found), more)
        return found

    def weights(
        self, epoch: int, nodes: Sequence[Address], block: int | str = "latest"
    ) -> dict[Address, int]:
        """Return the contract's sums of some nodes, at a block."""
        to = address_text(self.contract.address)
        asked = [self.contract.encode("weights", epoch, node) for node in nodes]
        at = hex(block) if isinstance(block, int) else block
        calls = [("eth_call", [{"to": to, "data": "0x" + data.hex()}, at]) for data in asked]
        found = [int(answer, 16) for answer in answers(self.client, calls)]
        return dict(zip(nodes, found, strict=True))

    def wallets(self, nodes: Sequence[Address]) -> set[Address]:
        """Return those of some accounts that are contracts."""
        calls = [("eth_getCode", [address_text(node), "latest"]) for node in nodes]
        found = answers(self.client, calls)
        return {node for node, code in zip(nodes, found, strict=True) if code != "0x"}

    def history(self, first_block: int = 0) -> dict[int, EpochHistory]:
        """Return what the chain's transactions did with each epoch.

        Jobs belong to the epoch that was open when they came; what evaluates or pays, to the epoch that it names.
        """
        epochs: dict[int, EpochHistory] = {}
        open_epoch: int | None = None
        for name, arguments, sent, receipt in self._calls(first_block):
            if open_epoch is None:
                open_epoch = int(self.contract.read("first_epoch"))
            number = open_epoch
            if name in {"submit", "submit_many"}:
                jobs = arguments[:1] if name == "submit" else arguments[0]
                node = parse_address(sent["from"], "from")
                epochs.setdefault(number, EpochHistory()).jobs += [_job(node, job) for job in jobs]
            elif name in {"evaluate", "pay"}:
                number = arguments[0]
            elif name != "close_epoch":
                continue
            gas = epochs.setdefault(number, EpochHistory()).gas
            gas[name] = gas.get(name, 0) + int(receipt["gasUsed"], 16)
            for event in self.contract.decode("Closed", receipt["logs"]):
                open_epoch = event.args["epoch"] + 1
        return epochs

    def _calls(
        self, first_block: int
    ) -> Iterator[tuple[str, tuple[Any, ...], Mapping[str, Any], Mapping[str, Any]]]:
        """Yield function, arguments, transaction and receipt of the successful calls that closed or came to the contract."""
        own = address_text(self.contract.address)
        for sent, receipt in transactions(self.client, first_block):
            # One without a receipt is no transaction of this chain: what it brought is found to be missing.
            if not receipt or receipt["status"] != "0x1":
                continue
            if sent["to"] == own:
                try:
                    name, arguments = self.contract.decode_call(bytes.fromhex(sent["input"][2:]))
                except InvalidInput:
                    continue
                yield name, arguments, sent, receipt
            elif self.contract.decode("Closed", receipt["logs"]):
                yield "close_epoch", (), sent, receipt

    def epoch_sums(self, file: ModelFile, epoch: int, sent: Sequence[Job]) -> EpochSums:
        """Return what an outsider sees of an epoch.

        Args:
            file: What the run's file says.
            epoch: Its number.
            sent: The jobs that transactions brought.
        """
        shown = EpochSums(
            contract=self.name,
            epoch=epoch,
            function_digest=file.function_digest,
            expected=expected_terms(file),
            code=self.code(),
        )
        terms = self.terms()
        if terms is None:
            return shown
        state = self.state(epoch)
        words = self.words(state.first, state.jobs)
        nodes = dict.fromkeys(Address((word >> 96).to_bytes(20, "big")) for word in words)
        return EpochSums(
            contract=shown.contract,
            epoch=epoch,
            function_digest=shown.function_digest,
            expected=shown.expected,
            code=shown.code,
            terms=terms,
            closed=self.open_epoch() > epoch,
            jobs=state.jobs,
            evaluated=state.evaluated,
            total=state.total,
            words=words,
            sent=sent,
            weights=self.weights(epoch, list(nodes)),
            wallets=self.wallets(list(nodes)),
        )


def expected_terms(file: ModelFile) -> Terms:
    """Return what a run deploys such a contract with."""
    return Terms(
        genesis_s=file.genesis_s,
        epoch_seconds=file.epoch_seconds,
        first_epoch=file.first_epoch,
        grace_seconds=GRACE_SECONDS,
        value_max=VALUE_MAX,
    )


def _job(node: Address, arguments: tuple[bytes, int, int, int]) -> Job:
    job_id, started_s, ended_s, value = arguments
    return Job(node, started_s, ended_s, value, bytes(job_id))
