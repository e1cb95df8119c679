"""An evaluator's configuration: one TOML file."""

from pathlib import Path
from typing import Annotated

import msgspec

from meridian.node.config_file import ConfigFile
from meridian.node.job_store import MEMORY_MIB, MEMORY_MIB_MIN
from meridian.scale.settings import EngineSettings

_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Retained = Annotated[int, msgspec.Meta(ge=64, le=1_000_000)]
_Pause = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]


class EvaluatorConfig(ConfigFile, frozen=True, kw_only=True):
    """What an evaluator needs to start. Relative paths start where the file is."""

    network_dir: Path
    """Directory that holds `network.json`."""
    data_dir: Path
    """The evaluator's own directory: safety log, journal of transactions, publication."""
    key_file: Path
    """secp256k1 key: signs the protocol and reports, and pays for transmissions."""
    link_key_file: Path
    """Seed of the Ed25519 link key."""
    listen_host: str = "127.0.0.1"
    """Address to listen on."""
    listen_port: _Port
    """Port to listen on, for the links of the other evaluators."""
    observe_host: str = "127.0.0.1"
    """Address of /healthz, /readyz, /metrics and /state."""
    observe_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """Their port; 0: any free one, which stands in observe.json in data_dir."""
    poll_ms: _Pause = 400
    """How often the chain is asked for news."""
    stage_ms: _Pause = 3_000
    """How long a member waits for the one before it to transmit."""
    unavailable_after_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 3_600
    """How long we look for what was committed before we sign that nobody publishes it."""
    self_commit_wait_s: Annotated[int, msgspec.Meta(ge=0, le=31_536_000)] = 60
    """How long we look for the segment of a node that committed itself, before it does not count."""
    memory_mib: Annotated[int, msgspec.Meta(ge=MEMORY_MIB_MIN, le=1 << 20)] = MEMORY_MIB
    """How much memory the work of an epoch may need: beyond an eighth of it, its jobs lie in files while they are evaluated."""
    private_layers_dir: Path | None = None
    """Directory with the private bundles (`*.cbor`) of sealed fraud layers; nobody else may read it."""
    retained_epochs: _Retained = 4_096
    """Published epochs whose records are kept, so that members that were away can catch up."""
    engine: EngineSettings = EngineSettings()
    """Where epochs larger than a shard are evaluated; the same bytes come out everywhere."""
