"""The measure service without its network: everything that must agree about one data directory.

::

    <data_dir>/jobs/       the job log
    <data_dir>/inputs/     which inputs each epoch has
    <data_dir>/public/     the publication: objects/, epochs/, log/
    <data_dir>/lock        held by the one process that serves it
"""

import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from meridian.errors import InvalidInput, StorageFailure
from meridian.measure.epoch import MICROSECONDS, Calendar, PlacementRules
from meridian.measure.schema import NetworkSchema
from meridian.node.durable_file import read_whole
from meridian.node.ingest.assembly import Header
from meridian.node.ingest.clock import Clock
from meridian.node.ingest.config import MeasureConfig
from meridian.node.ingest.epoch_inputs import EpochInputs
from meridian.node.ingest.intake import Intake, Limits, Signer
from meridian.node.ingest.job_log import JobLog
from meridian.node.ingest.publication import Publication
from meridian.node.ingest.published_log import PublishedLog
from meridian.node.ingest.registry import NodeRegistry
from meridian.node.ingest.seal import Parts, Sealer
from meridian.node.network_file import NetworkFile
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

PUBLIC: Final = "public"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a service is for."""

    network: str
    network_id: bytes
    domain: Domain
    """That of the contract Commitments."""
    schema: NetworkSchema
    rules: PlacementRules
    key: PrivateKey
    log_seed: bytes
    replay: bool
    retention_epochs: int
    limits: Limits

    @classmethod
    def of(
        cls, config: MeasureConfig, network: NetworkFile, key: PrivateKey, log_seed: bytes
    ) -> Self:
        """Bring together what configuration and network file say.

        Raises:
            InvalidInput: If key or schema are not those of the network.
        """
        schema = NetworkSchema.decode(read_whole(config.schema_file))
        if schema.digest != network.schema_digest:
            raise InvalidInput("schema_file", "it is not the schema that the network file names")
        if key.address != network.aggregator:
            raise InvalidInput("key_file", "it is not the key of the network's aggregator")
        calendar = Calendar(network.genesis_s, network.epoch_seconds, network.first_epoch)
        return cls(
            network=network.network,
            network_id=network.network_id,
            domain=network.domain(network.contracts.commitments),
            schema=schema,
            rules=PlacementRules(calendar, config.grace_epochs, config.skew_s * MICROSECONDS),
            key=key,
            log_seed=log_seed,
            replay=config.replay,
            retention_epochs=config.retention_epochs,
            limits=Limits(config.jobs_max, config.log_bytes_max),
        )


def log_origin(network: str, aggregator: Address) -> str:
    """Return the name of an aggregator's epoch log."""
    return f"meridian/{network}/{aggregator.hex()}"


class Core:
    """Intake, seals and publication of one data directory.

    Args:
        setting: What it is for.
        data_dir: The directory; made when absent.
        registry: Which nodes are registered.
        failed: Called from another thread when the disk refuses: the process must end.
        artefacts: Objects to publish at start, besides the schema.
        job_file_bytes: Length of a file of the job log; for tests.

    Raises:
        StorageFailure: If the directory cannot be used, or another process uses it.
    """

    def __init__(
        self,
        setting: Setting,
        data_dir: Path,
        registry: NodeRegistry,
        failed: Callable[[StorageFailure], None],
        artefacts: Sequence[bytes] = (),
        job_file_bytes: int | None = None,
    ) -> None:
        self.setting = setting
        self._lock = _lock(data_dir)
        try:
            self.publication = Publication(data_dir / PUBLIC)
            for artefact in (setting.schema.encode(), *artefacts):
                self.publication.put(artefact)
            calendar = setting.rules.calendar
            self.log = PublishedLog(
                data_dir / PUBLIC / "log",
                log_origin(setting.network, setting.key.address),
                setting.log_seed,
                calendar.first_epoch,
            )
            sizes = {} if job_file_bytes is None else {"file_bytes": job_file_bytes}
            self._jobs = JobLog(data_dir / "jobs", failed, **sizes)
            self.clock = Clock(replay=setting.replay, start_us=calendar.start_us(self.log.next_epoch))
            self.intake = Intake(
                setting.schema,
                setting.rules,
                self.clock,
                registry,
                Signer(setting.network_id, setting.domain, setting.key),
                self._jobs,
                setting.limits,
                secrets.token_bytes(32),
            )
            keep_from = self.log.next_epoch - setting.retention_epochs
            self.intake.restore(self._jobs.recover(), self.log.next_epoch, keep_from)
            self.intake.forget_before(keep_from)
            if self._jobs.cut_bytes:
                _log.warning("the job log ended in %d bytes that nobody was promised", self._jobs.cut_bytes)
            self.clock.set(self.intake.last_received_us)
            self._jobs.start()
            self.sealer = Sealer(
                Parts(
                    schema=setting.schema,
                    header=Header(setting.network, setting.network_id, setting.key.address),
                    rules=setting.rules,
                    clock=self.clock,
                    registry=registry,
                    intake=self.intake,
                    jobs=self._jobs,
                    inputs=EpochInputs(data_dir / "inputs", self.publication),
                    publication=self.publication,
                    log=self.log,
                ),
                setting.retention_epochs,
            )
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def vkey(self) -> str:
        """The verifier key of the epoch log."""
        return self.log.verifier.text

    def close(self) -> None:
        """Write what waits and release the directory."""
        self._jobs.close()
        os.close(self._lock)


def _lock(data_dir: Path) -> int:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StorageFailure(f"{data_dir}: another process serves this directory") from None
    except OSError as error:
        raise StorageFailure(f"{data_dir}: {error.strerror or error}") from error
    return descriptor
