"""Evidence that evaluators publish against each other: two statements of which a correct member signs one.

An evaluator that meets a member's double statements puts the evidence beside its other artefacts, with the term in
which it was signed; a watcher checks it against the members on chain and turns it into an accusation.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from meridian.disputes.accusation import Accusation
from meridian.disputes.double_statements import from_evidence
from meridian.ephemera.context import Context
from meridian.ephemera.term import term_network
from meridian.errors import InvalidInput
from meridian.node.chain_view import ChainView
from meridian.node.publications import EVIDENCE, Place
from meridian.primitives.eip712 import Domain

FILE_BYTES_MAX: Final = 1 << 20
SEEN_MAX: Final = 1 << 16
"""Files that are remembered; more are read again in every round."""


class PublishedEvidence:
    """The evidence in publications; `new` gives each file once.

    Args:
        places: The publications.
        network: The network's 32 bytes.
        domain: That of Evaluations.
        view: For the members of epochs.
    """

    def __init__(
        self, places: Sequence[Place], network: bytes, domain: Domain, view: ChainView
    ) -> None:
        self._places, self._network = places, network
        self._domain, self._view = domain, view
        self._seen: set[tuple[str, str]] = set()

    def new(self) -> Iterator[Accusation]:
        """Yield what new files prove; those that prove nothing are passed over.

        Raises:
            RemoteFault: If the chain cannot be asked for members; the file is read again the next time.
        """
        for place in self._places:
            for name in place.evidence():
                if (place.name, name) in self._seen:
                    continue
                data = place.read(f"{EVIDENCE}/{name}", FILE_BYTES_MAX)
                if data is None:
                    continue  # it may come, or come back
                accusation = self._read(data)
                if len(self._seen) < SEEN_MAX:
                    self._seen.add((place.name, name))
                if accusation is not None:
                    yield accusation

    def _read(self, data: bytes) -> Accusation | None:
        try:
            value: dict[str, Any] = msgspec.json.decode(data)
            epoch, term = int(value["epoch"]), int(value["term"])
            evidence = bytes.fromhex(value["evidence"])
            members = self._view.committee(epoch)
            network = term_network(self._network, term)
            return from_evidence(Context(self._domain, network, epoch, members), evidence)
        except (ValueError, KeyError, TypeError, InvalidInput):
            return None
