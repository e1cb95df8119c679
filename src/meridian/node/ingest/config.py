"""The measure service's configuration: one JSON file."""

from pathlib import Path
from typing import Self

import msgspec

from meridian.errors import InvalidInput


class MeasureConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the measure service needs to start. Paths are absolute or relative to the working directory."""

    network_dir: Path
    """Directory that holds `network.json`."""
    data_dir: Path
    """The service's own directory: job log, journal of transactions, and ``public/``, its publication."""
    key_file: Path
    """The aggregator's secp256k1 key: signs receipts and pays for commitments."""
    log_key_file: Path
    """Seed of the Ed25519 key that signs the epoch log's checkpoints."""
    gateway_token_file: Path
    """Bearer token of those who submit jobs: 64 hex digits, made if missing."""
    admin_token_file: Path
    """Bearer token for seals, inputs and the clock."""
    schema_file: Path
    """The schema artefact of the network."""
    artefact_files: tuple[Path, ...] = ()
    """Other artefacts to publish at start: parameters, function bundle."""
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0: any free one."""
    replay: bool = False
    """Whether the clock is set by the administrator (recorded jobs) instead of being the machine's."""
    skew_s: int = 60
    """How far ahead of the clock a job may end."""
    grace_epochs: int = 1
    """How many epochs further a job may go when its own is sealed."""
    seal_after_s: int = 60
    """Live clock only: how long after its end an epoch is sealed by itself."""
    retention_epochs: int = 2
    """How many sealed epochs' jobs are remembered against duplicates, and their receipts kept."""
    jobs_max: int = 20_000_000
    """Most jobs remembered at a time, about 100 bytes of memory each; more are refused until epochs are forgotten."""
    log_bytes_max: int = 64 << 30
    """Longest job log, all files together."""
    body_bytes_max: int = 64 << 20
    """Longest body of a request."""
    requests_max: int = 8
    """Batches and inputs in work at a time, each with its body in memory; more are told to come back."""

    def __post_init__(self) -> None:
        """Refuse values that contradict each other; msgspec turns ValueError into its own error."""
        if not 0 <= self.listen_port < 1 << 16:
            raise ValueError(f"listen_port {self.listen_port} is not a port")
        for name in ("skew_s", "grace_epochs", "seal_after_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")
        if self.retention_epochs < self.grace_epochs:
            raise ValueError("retention_epochs is less than grace_epochs: duplicates would pass")
        for name in ("jobs_max", "log_bytes_max", "body_bytes_max", "requests_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is not positive")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration file.

        Raises:
            InvalidInput: If it has an unknown or missing key, or a value of the wrong type.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls, dec_hook=_path)
        except (msgspec.DecodeError, msgspec.ValidationError, OSError) as error:
            raise InvalidInput(str(path), str(error)) from error

    def save(self, path: Path) -> None:
        """Write the configuration file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=2))


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no field has the type {kind}")
