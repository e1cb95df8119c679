"""Evidence that evaluators publish against each other: two statements of which a correct member signs one.

An evaluator that meets a member's double statements puts the evidence beside its other artefacts, with the term in
which it was signed; a watcher checks it against the members on chain and turns it into an accusation.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.disputes.accusation import Accusation
from meridian.disputes.double_statements import from_evidence
from meridian.ephemera.context import Context
from meridian.ephemera.term import term_network
from meridian.errors import InvalidInput
from meridian.node.chain_view import ChainView
from meridian.primitives.eip712 import Domain

FILE_BYTES_MAX: Final = 1 << 20
FOLDER: Final = "evidence"


class PublishedEvidence:
    """The evidence in publication directories; `new` gives each file once.

    Args:
        directories: The publications.
        network: The network's 32 bytes.
        domain: That of Evaluations.
        view: For the members of epochs.
    """

    def __init__(
        self, directories: Sequence[Path], network: bytes, domain: Domain, view: ChainView
    ) -> None:
        self._directories, self._network = directories, network
        self._domain, self._view = domain, view
        self._seen: set[Path] = set()

    def new(self) -> Iterator[Accusation]:
        """Yield what new files prove; those that prove nothing are passed over."""
        for directory in self._directories:
            for path in sorted((directory / FOLDER).glob("*.json")):
                if path not in self._seen:
                    accusation = self._read(path)
                    self._seen.add(path)
                    if accusation is not None:
                        yield accusation

    def _read(self, path: Path) -> Accusation | None:
        try:
            with path.open("rb") as file:
                value: dict[str, Any] = msgspec.json.decode(file.read(FILE_BYTES_MAX))
            epoch, term = int(value["epoch"]), int(value["term"])
            evidence = bytes.fromhex(value["evidence"])
            members = self._view.committee(epoch)
            network = term_network(self._network, term)
            return from_evidence(Context(self._domain, network, epoch, members), evidence)
        except (OSError, ValueError, KeyError, TypeError, InvalidInput, msgspec.DecodeError):
            return None
