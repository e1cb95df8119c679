"""Artefacts by their digests, from wherever they can be had: publications first, then the measure service itself."""

from collections.abc import Sequence
from typing import Final

from meridian.errors import InvalidInput, MeridianError, NotFound, RemoteFault
from meridian.node.measure.client import MeasureClient
from meridian.node.publications import Place
from meridian.node.stores.store import OBJECT_BYTES_MAX
from meridian.primitives.cid import cid_text, digest_of

PATIENCE_S: Final = 2.0


class PublishedPlaces:
    """What several places publish; nothing is returned that does not hash to its name.

    Args:
        places: Asked in order.
        measure_url: Asked last; empty: nobody is.
    """

    def __init__(self, places: Sequence[Place], measure_url: str = "") -> None:
        self._places = places
        self._service: MeasureClient | None = None
        if measure_url:
            self._service = MeasureClient(measure_url, "", patience_s=PATIENCE_S)

    def close(self) -> None:
        """Close the connection to the service."""
        if self._service is not None:
            self._service.close()

    def fetch(self, digest: bytes) -> bytes:
        """Return an artefact's bytes, checked.

        Raises:
            RemoteFault: If it cannot be had now.
        """
        name = f"objects/{cid_text(digest)}"
        for place in self._places:
            data = place.read(name, OBJECT_BYTES_MAX)
            if data is not None and digest_of(data) == digest:
                return data
        if self._service is not None:
            try:
                return self._service.artefact(digest)
            except (NotFound, RemoteFault, InvalidInput):
                pass
            except MeridianError as error:
                raise RemoteFault(str(error)) from error
        raise RemoteFault(f"no place publishes {cid_text(digest)} now")
