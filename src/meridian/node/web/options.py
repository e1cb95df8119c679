"""What the explorer's server is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput

DEFAULT_PORT: Final = 8640
DEFAULT_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Options of `meridian web`."""

    data_dir: Path
    """The network's directory."""
    out: Path | None = None
    """Where the site is written; None: ``web/site`` in the data directory."""
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    """0: any free one."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise InvalidInput("--port", f"{self.port} is not in 0..65535")

    @property
    def site(self) -> Path:
        """The site's directory."""
        return self.out or self.data_dir / "web" / "site"

    @property
    def complaints(self) -> Path:
        """The file with the complaints; it is no part of the site, which can be made anew."""
        return complaints_file(self.data_dir)


def complaints_file(data_dir: Path) -> Path:
    """Return where a network's complaints are kept."""
    return data_dir / "web" / "complaints.sqlite"
