"""A witness's configuration: one TOML file in its directory, beside its key and its memory."""

from pathlib import Path
from typing import Final, Self

import msgspec

from meridian.errors import InvalidInput
from meridian.measure.signed_note import Verifier
from meridian.node.config_file import ConfigFile

LOGS_MAX: Final = 1_000


class WitnessedLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log that is witnessed."""

    keys: tuple[str, ...]
    """Its verifier keys; one signature is enough."""
    origin: str = ""
    """The first line of its checkpoints; by default the first key's name."""


class WitnessConfig(ConfigFile, frozen=True, kw_only=True):
    """What a witness needs to start."""

    name: str
    """Name of its key: a URL without scheme."""
    logs: tuple[WitnessedLog, ...] = ()
    """The logs that are witnessed."""
    listen_host: str = "127.0.0.1"
    """Address to listen on."""
    listen_port: int = 7370
    """Port to listen on; 0: any that is free."""

    def trusted(self) -> dict[str, tuple[Verifier, ...]]:
        """Return the keys of each log, by its origin.

        Raises:
            InvalidInput: If a key is none, a log has none, or two logs have one origin.
        """
        logs: dict[str, tuple[Verifier, ...]] = {}
        for log in self.logs:
            keys = tuple(map(Verifier.parse, log.keys))
            if not keys:
                raise InvalidInput("logs", "a log needs a key")
            origin = log.origin or keys[0].name
            if origin in logs:
                raise InvalidInput("logs", f"{origin} stands there twice")
            logs[origin] = keys
        if len(logs) > LOGS_MAX:
            raise InvalidInput("logs", f"at most {LOGS_MAX} are witnessed")
        return logs

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration file.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it has an unknown or missing key, or a value of the wrong type.
        """
        config = super().load(path)
        config.trusted()
        return config
