"""What a watcher may be asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput

CASE_URL_BYTES_MAX: Final = 220
"""With the file's name at most the 256 bytes that the contract takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Options of `meridian watch`."""

    data_dir: Path
    """The network's directory: `network.json` and the publications."""
    state_dir: Path
    """The watcher's own directory: the journal of what it sent."""
    key_file: Path
    """Its account: pays the gas and the bonds, and gets what a verdict gives."""
    node_id: str | None = None
    """The one node whose inclusion, receipts and rewards are checked; None: everything of everybody."""
    publications: tuple[str, ...] = ()
    """Further publications, directories or URLs, beside those of `network.json`."""
    gateway_dir: Path | None = None
    """Receipts and batches as a gateway keeps them; None: promises are not followed."""
    bond_max_atto: int = 0
    """The most that all bonds at stake may sum up to; with 0 nobody is challenged."""
    patience_s: float = 60.0
    """How long artefacts may be missing before their aggregator is challenged to show a row."""
    poll_s: float = 1.0
    """Pause between two looks at the chain."""
    dry_run: bool = False
    """Say what would be sent, and send nothing."""

    escalate: bool = False
    """Bring before the referees, with a bond, what arithmetic cannot settle."""
    case_url: str = ""
    """Where the folder `cases` of the state directory is served; empty: cases are named by their content alone."""

    observe_port: int | None = None
    """Port of /healthz, /readyz, /metrics and /state on loopback; 0: any free one; None: none of them."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; the option is named."""
        if self.bond_max_atto < 0:
            raise InvalidInput("--bond-max-atto", "must not be negative")
        if not 0 < self.poll_s <= 3_600:
            raise InvalidInput("--poll-s", f"{self.poll_s} is not in 0..3600")
        if not 0 <= self.patience_s <= 31_536_000:
            raise InvalidInput("--patience-s", f"{self.patience_s} is not in 0..31536000")
        if self.escalate and self.node_id is not None:
            raise InvalidInput("--escalate", "it looks at whole epochs; not with --node")
        if len(self.case_url.encode()) > CASE_URL_BYTES_MAX:
            raise InvalidInput("--case-url", f"longer than {CASE_URL_BYTES_MAX} bytes")
