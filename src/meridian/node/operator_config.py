"""What a node's operator tells `meridian submit` and `meridian watch`: one TOML file."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from meridian.node.config_file import ConfigFile


class WatchTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `meridian watch` looks at and may spend."""

    state_dir: Path | None = None
    """The watcher's own directory; without it `watcher` in the network's directory."""
    key_file: Path | None = None
    """The watcher's account, which pays gas and bonds; without it one is made in its directory."""
    everything: bool = False
    """Check everything of everybody instead of this node's jobs and rewards."""
    publications: tuple[str, ...] = ()
    """More places where artefacts are published: directories or URLs."""
    bond_max_atto: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The most that all bonds at stake may sum up to; with 0 nobody is challenged."""
    patience_s: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 60.0
    """How long artefacts may be missing before their aggregator is challenged."""
    poll_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 1.0
    """Pause between two looks at the chain."""


class OperatorConfig(ConfigFile, frozen=True, kw_only=True):
    """What a node's operator tells `meridian submit` and `meridian watch`."""

    network_dir: Path
    """Directory with the network's `network.json`."""
    node_id: str
    """The node's id."""
    key_file: Path
    """The operator's key, as registered: it signs the node's batches of jobs."""
    passphrase_file: Path | None = None
    """First line = passphrase of an encrypted key; without it the passphrase is asked for."""
    receipts_dir: Path
    """Where receipts are kept: they prove what was promised."""
    measure_url: str = ""
    """The measure service; empty: the one of `network.json`."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    """Records in a batch."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Batches at a time."""
    compress: bool = False
    """Whether batches travel compressed."""
    watch: WatchTable = WatchTable()
    """What `meridian watch` looks at and may spend."""

    @property
    def submit_options(self) -> dict[str, Any]:
        """The options of `meridian submit` that it stands for, by the command's names."""
        return {
            "data_dir": self.network_dir,
            "node_id": self.node_id,
            "key_file": self.key_file,
            "passphrase_file": self.passphrase_file,
            "receipts": self.receipts_dir,
            "url": self.measure_url or None,
            "batch": self.batch,
            "in_flight": self.in_flight,
            "compress": self.compress,
        }

    @property
    def watch_options(self) -> dict[str, Any]:
        """The options of `meridian watch` that it stands for, by the command's names."""
        watch = self.watch
        return {
            "data_dir": self.network_dir,
            "node_id": "all" if watch.everything else self.node_id,
            "gateway_dir": self.receipts_dir if self.receipts_dir.is_dir() else None,
            "state_dir": watch.state_dir,
            "key_file": watch.key_file,
            "publications": watch.publications,
            "bond_max_atto": watch.bond_max_atto,
            "patience_s": watch.patience_s,
            "poll_s": watch.poll_s,
        }
