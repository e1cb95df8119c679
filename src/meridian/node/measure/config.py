"""The measure service's configuration: one TOML file; secrets stand in files of their own."""

from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput
from meridian.measure.epoch import MICROSECONDS, Calendar, PlacementRules
from meridian.node.chain.finality import Confirmations, WaitSeconds
from meridian.node.config_file import ConfigFile
from meridian.node.measure.limits import JobsLimits, Rates
from meridian.node.measure.servers_config import ServersConfig
from meridian.node.stores.config import StoreConfig

SIGNED_WITHIN_LEAST_S: Final = 3600

SEAL_MEMORY_MIB_MIN: Final = 768


class ChainAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network's contracts on a chain."""

    rpc_url: str
    """The chain's JSON-RPC endpoint."""
    registry: str
    """The contract `Registry`."""
    evaluations: str
    """The contract `Evaluations`."""
    rewards: str
    """The contract `Rewards`."""
    deploy_block: int = 0
    """No event of the contracts is older."""
    confirmations: Confirmations | None = None
    """Blocks on top before a transaction counts as done; None: the chain's usual."""
    transaction_wait_s: WaitSeconds | None = None
    """How long the service waits for that; None: the chain's usual."""


class WitnessAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A witness of the epoch log."""

    url: str
    """Its submission prefix (C2SP tlog-witness)."""
    vkey: str
    """Its verifier key, of a cosigner."""


class MeasureConfig(ConfigFile, frozen=True, kw_only=True):
    """What a measure service needs to start. Relative paths start where the file is."""

    network: str
    """The network's name."""
    schema_file: Path
    """The schema's artefact (DAG-CBOR)."""
    artefact_files: tuple[Path, ...] = ()
    """More files to be published as artefacts at the start, such as the parameters."""
    data_dir: Path
    """The service's own directory: job log, journal of transactions, publication (``public``)."""
    key_file: Path
    """secp256k1 key of the aggregator: signs receipts and commits."""
    log_key_file: Path
    """Seed of the Ed25519 key of the epoch log."""
    log_state_file: Path | None = None
    """What that key has signed last; by default beside it, with ``.signed`` behind its name. Keep it out of backups that
    may be restored to an earlier state: it is what forbids to sign a second history."""
    secret_file: Path
    """Secret that masks the job set and makes seeds for batches that come without one."""
    gateway_token_file: Path
    """Bearer token of those who submit."""
    admin_token_file: Path
    """Bearer token of those who seal."""
    log_origin: str = ""
    """Name of the epoch log; by default ``meridian/<network>``."""
    witnesses: tuple[WitnessAccess, ...] = ()
    """Who is asked to cosign each checkpoint of the epoch log."""
    witness_quorum: int | None = None
    """How many must have cosigned; None: all of them."""
    witnesses_required: bool = False
    """Whether an epoch waits until the quorum has cosigned; else its checkpoint is published after `witness_wait_s`, and
    the witnesses are asked again."""
    witness_wait_s: float = 5.0
    """How long the witnesses have, at most 600."""
    store: StoreConfig = StoreConfig()
    """Where artefacts are put besides ``public``."""
    servers: ServersConfig | None = None
    """This server as one of several that take jobs for the network; None: it is the only one."""
    chain_id: int
    """EIP-155 id of the network's chain."""
    commitments: str
    """The contract `Commitments`: receipts are signed for it."""
    chain: ChainAccess | None = None
    """Without it nodes come from `nodes_file` and commitments go to a file in `data_dir`."""
    nodes_file: Path | None = None
    """The nodes, where there is no chain (JSON: node_id, operator, payee)."""
    genesis_s: int
    """When the first epoch starts, seconds since the Unix epoch; as the contracts say."""
    epoch_seconds: int
    """Length of an epoch; as the contracts say."""
    first_epoch: int
    """Number of the first epoch; as the contracts say."""
    listen_host: str = "127.0.0.1"
    """Address to listen on."""
    listen_port: int
    """Port to listen on; 0: any that is free."""
    replay: bool = False
    """Whether the ingest clock is set by the administrator instead of the wall clock."""
    late_epochs: int = 1
    """How many epochs before the open one a job may be from and still come; it counts in the open one."""
    skew_ms: int = 60_000
    """How far ahead of our clock a job may have ended."""
    remembered_epochs: int = 2
    """Sealed epochs whose jobs are remembered against duplicates."""
    jobs_max: int = 32_000_000
    """Most jobs that are remembered at a time: 28 bytes each, 110 while they are fewer than 50,000. An epoch of 100
    million jobs needs a greater bound: its own jobs and those of `remembered_epochs`, so 400 million and 11 GB."""
    log_bytes_max: int = 64 << 30
    """Most bytes of accepted jobs that wait on disk to be sealed; what is beyond is put off."""
    seal_memory_mib: int = 2048
    """What sealing an epoch may take, whatever its size: at least 768."""
    sealed_epochs_kept: int = 168
    """Settled epochs of which proofs are quick, 100 bytes a job; those of older ones are made from the segments."""
    requests_max: int = 4096
    """Batches in work at a time."""
    work_bytes_max: int = 512 << 20
    """Bytes of their bodies at a time; what is beyond is put off with 429."""
    gateway_requests_per_s: int = 50_000
    """What the holder of a token may send on average; the bucket holds two seconds of it."""
    gateway_bytes_per_s: int = 1 << 30
    """The same in bytes."""
    node_requests_per_s: int = 100
    """What a node may send on average that signs its batches."""
    node_bytes_per_s: int = 16 << 20
    """The same in bytes."""

    def __post_init__(self) -> None:
        if (self.chain is None) == (self.nodes_file is None):
            raise InvalidInput("chain", "either a chain or a nodes_file is needed")
        if not 0 <= self.quorum <= len(self.witnesses) or not 0 < self.witness_wait_s <= 600:
            raise InvalidInput(
                "witness_quorum", "at most the number of witnesses, who have 0 to 600 s"
            )
        if min(self.late_epochs, self.skew_ms, self.remembered_epochs) < 0:
            raise InvalidInput("late_epochs", "late_epochs, skew_ms, remembered_epochs: 0 or more")
        bounds = (
            "requests_max",
            "work_bytes_max",
            "gateway_requests_per_s",
            "gateway_bytes_per_s",
            "node_requests_per_s",
            "node_bytes_per_s",
            "sealed_epochs_kept",
        )
        for name in bounds:
            if getattr(self, name) < 1:
                raise InvalidInput(name, "1 or more")
        if self.seal_memory_mib < SEAL_MEMORY_MIB_MIN:
            raise InvalidInput("seal_memory_mib", f"at least {SEAL_MEMORY_MIB_MIN}")
        if self.remembered_epochs < self.late_epochs:
            raise InvalidInput("remembered_epochs", "late jobs must meet what they may repeat")

    @property
    def origin(self) -> str:
        """The name of the epoch log."""
        return self.log_origin or f"meridian/{self.network}"

    @property
    def quorum(self) -> int:
        """How many witnesses must have cosigned."""
        return len(self.witnesses) if self.witness_quorum is None else self.witness_quorum

    @property
    def signed_state_file(self) -> Path:
        """What the epoch log's key has signed last."""
        return self.log_state_file or self.log_key_file.with_name(
            f"{self.log_key_file.name}.signed"
        )

    @property
    def public_dir(self) -> Path:
        """The publication."""
        return self.data_dir / "public"

    @property
    def rules(self) -> PlacementRules:
        """Which jobs are accepted, in time."""
        calendar = Calendar(self.genesis_s, self.epoch_seconds, self.first_epoch)
        return PlacementRules(calendar, self.late_epochs, self.skew_ms * 1000)

    @property
    def jobs_limits(self) -> JobsLimits:
        """What may be sent."""
        return JobsLimits(
            gateway=Rates(self.gateway_requests_per_s, self.gateway_bytes_per_s),
            node=Rates(self.node_requests_per_s, self.node_bytes_per_s),
            requests_max=self.requests_max,
            bytes_max=self.work_bytes_max,
        )

    @property
    def signed_within_us(self) -> int:
        """How far from now the time may lie that a node signed: while its jobs are remembered, at least an hour."""
        remembered_s = (self.remembered_epochs + 1) * self.epoch_seconds
        return max(remembered_s, SIGNED_WITHIN_LEAST_S) * MICROSECONDS
