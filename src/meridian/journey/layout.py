"""What lies where in a data directory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data directory."""

    root: Path

    @property
    def chain(self) -> Path:
        """The embedded chain's database."""
        return self.root / "chain" / "chain.sqlite"

    @property
    def chain_port(self) -> Path:
        """The port that the chain listens on, kept over restarts."""
        return self.root / "chain" / "port"

    @property
    def measure(self) -> Path:
        """The measure service's directory."""
        return self.root / "measure"

    def evaluator(self, number: int) -> Path:
        """Return the directory of evaluator `number`, counted from 1."""
        return self.root / "evaluators" / str(number)

    def key(self, name: str) -> Path:
        """Return the file of a secret key."""
        return self.root / "keys" / f"{name}.key"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.root / "logs" / f"{name}.log"

    def sender(self, name: str) -> Path:
        """Return the journal of transactions sent by one account."""
        return self.root / "senders" / f"{name}.sqlite"

    @property
    def receipts(self) -> Path:
        """The receipts of the run's gateway, one JSON object a line."""
        return self.root / "gateway" / "receipts.jsonl"

    def result(self, epoch: int) -> Path:
        """Return the file with an epoch's result in the design document's own shape."""
        return self.root / "results" / f"epoch-{epoch:06d}.json"

    def publications(self, evaluators: int) -> tuple[str, ...]:
        """Return the publication directories, relative to the root."""
        return ("measure/public", *(f"evaluators/{i}/public" for i in range(1, evaluators + 1)))
