"""What a sponsor decides about a network: one TOML file, from which its contracts are deployed and its epochs are funded.

It says what a job's record holds and how jobs become weights, so a network of one's own takes no code; the artefacts made of
that are named by their digests in the contracts. `meridian chain deploy --config` and `meridian chain fund --config` read it.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from meridian.contracts.deployment import NEVER_S, Parameters
from meridian.errors import InvalidInput
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import NetworkDefinition
from meridian.networks.sources import network_named
from meridian.node.config_file import ConfigFile
from meridian.node.deployment_parameters import parameters_of
from meridian.node.durable_file import write_durably
from meridian.primitives.ids import ZERO_ADDRESS, address_text
from meridian.primitives.sumtree import LaneKind

DECIMALS: Final = 9
"""Digits behind the point of a decimal field."""
TEXT_BYTES: Final = 256
"""Longest text of a field."""
SCHEMA_FILE: Final = "schema.cbor"

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=NEVER_S)]
_Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class RecordsTable(_Table, frozen=True, kw_only=True):
    """What the record of a job says, and how jobs become weights."""

    like: str = ""
    """A network that ships (saturn, spark, nym, ...): its records and its function; with it the keys below stay empty."""
    integers: tuple[str, ...] = ()
    """Fields that are integers of 0 or more."""
    decimals: tuple[str, ...] = ()
    """Fields that are numbers of 0 or more, with up to 9 digits behind the point."""
    booleans: tuple[str, ...] = ()
    """Fields that are true or false."""
    texts: tuple[str, ...] = ()
    """Fields that are texts, up to 256 bytes."""
    sums: tuple[str, ...] = ()
    """At most two of the numbers: their sums stand in every node of the committed tree."""
    function: str = "count"
    """A function that ships (`meridian function list`), or the file that `meridian function publish` wrote."""


class TermsTable(_Table, frozen=True, kw_only=True):
    """Who besides the nodes gets a share, and who decides."""

    evaluators_ppm: _Ppm = 0
    """The evaluators' own share of an epoch's budget, millionths."""
    aggregators_ppm: _Ppm = 0
    """The aggregators' own share of it, millionths."""
    committee_size: Annotated[int, msgspec.Meta(ge=0, le=128)] = 0
    """The greatest number of evaluators that decide an epoch; 0: all that have a stake."""
    committee_stake_min: str = "0"
    """The least stake of a member of the committee, coins."""


class DisputesTable(_Table, frozen=True, kw_only=True):
    """Who may void and slash, and what that takes."""

    bond: str
    """What a challenge or an escalation locks, coins."""
    response_seconds: _Seconds
    """How long a challenged aggregator may take to answer."""
    burn_ppm: _Ppm
    """The part of a taken stake that is burned, millionths."""
    burn_address: str
    """Where that goes."""
    referees: tuple[str, ...]
    """Accounts whose quorum rules on what arithmetic cannot settle; at most 32."""
    referee_stake_min: str
    """What a referee deposits, coins."""
    voting_seconds: _Seconds
    """How long the referees may take for a verdict."""


class ContractsTable(_Table, frozen=True, kw_only=True):
    """What the contracts fix for good."""

    genesis_s: int
    """When the first epoch starts, seconds since the Unix epoch."""
    epoch_seconds: Annotated[int, msgspec.Meta(ge=1, le=NEVER_S)]
    """Length of an epoch."""
    first_epoch: Annotated[int, msgspec.Meta(ge=0)] = 1
    """Number of the first epoch."""
    aggregators: tuple[str, ...]
    """Accounts that may commit epochs, at most 8 (`meridian init aggregator` prints one)."""
    node_stake_min: str = "0.1"
    """What a node locks to join, coins."""
    evaluator_stake_min: str = "100"
    """What an evaluator locks to join, coins."""
    aggregator_stake_min: str = "0"
    """What an aggregator locks before it may commit, coins; 0: nothing."""
    exit_delay_s: _Seconds = 604_800
    """How long a stake stays locked after its owner left."""
    challenge_seconds: _Seconds = 86_400
    """How long a report waits before anybody is paid: the time in which it can be disputed."""
    sealing_seconds: _Seconds = 0
    """How long after its end an epoch waits for nodes that commit themselves; 0: they cannot."""
    report_seconds: _Seconds = NEVER_S
    """From an epoch's end until anybody may have it abandoned, if it has no report."""
    owner: str = address_text(ZERO_ADDRESS)
    """Who may schedule other functions for epochs to come; the zero address: nobody."""
    terms: TermsTable = TermsTable()
    """Who besides the nodes gets a share, and who decides."""
    disputes: DisputesTable | None = None
    """Disputes, with stakes that can be taken; without this table nobody can void a report."""


class FundTable(_Table, frozen=True, kw_only=True):
    """What `meridian chain fund` pays."""

    first: Annotated[int, msgspec.Meta(ge=0)] = 1
    """The first epoch that is funded."""
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """How many, all in one transaction."""
    each: str = "1000"
    """Coins for each of them; they cannot be taken back."""


class SponsorConfig(ConfigFile, frozen=True, kw_only=True):
    """What a sponsor decides about a network: its records, its contracts, its money."""

    network: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """The network's name; its hash stands in everything that is signed."""
    data_dir: Path
    """The network's directory: deployment.json and the artefacts are written there."""
    rpc_url: str
    """The chain's JSON-RPC endpoint."""
    key_file: Path
    """The sponsor's account: encrypted JSON, or 64 hex digits; it deploys and pays."""
    passphrase_file: Path | None = None
    """First line = passphrase of an encrypted key; without it the passphrase is asked for."""
    records: RecordsTable
    """What the record of a job says, and how jobs become weights."""
    contracts: ContractsTable
    """What the contracts fix for good."""
    fund: FundTable = FundTable()
    """What `meridian chain fund --config` pays."""

    @property
    def sending_options(self) -> dict[str, Any]:
        """The options of commands that send as the sponsor, by the commands' names."""
        return {
            "data_dir": self.data_dir,
            "rpc_url": self.rpc_url,
            "key_file": self.key_file,
            "passphrase_file": self.passphrase_file,
        }

    @property
    def fund_options(self) -> dict[str, Any]:
        """The options of `meridian chain fund` that it stands for, by the command's names."""
        money = {"first": self.fund.first, "epochs": self.fund.epochs, "each": self.fund.each}
        return {**self.sending_options, **money}

    def definition(self, base: Path) -> NetworkDefinition:
        """Return the network; a function's file is looked for in `base`.

        Raises:
            NotFound: If a network or function of that name does not ship.
            InvalidInput: If fields are named twice, or the function does not suit them.
        """
        table = self.records
        if table.like:
            if table != RecordsTable(like=table.like):
                raise InvalidInput("records.like", "stands alone, or not at all")
            known = network_named(table.like)
            return replace(known, name=self.network)
        return _own_definition(self.network, table, base)

    def parameters(self, definition: NetworkDefinition) -> Parameters:
        """Return what the contracts are deployed with.

        Raises:
            InvalidInput: If an account or an amount is none; the key is named.
        """
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.contracts))
        document["terms"]["rule"] = definition.reward_rule
        document |= {
            "network": self.network,
            "function_digest": definition.evaluation_function.digest.hex(),
            "parameters_digest": definition.parameters.digest.hex(),
        }
        return parameters_of(document)[1]


def write_artefacts(definition: NetworkDefinition, directory: Path) -> list[Path]:
    """Write schema, parameters and function of a network into its directory; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        SCHEMA_FILE: definition.schema.encode(),
        "parameters.cbor": definition.parameters.encode(),
        "function.cbor": definition.evaluation_function.bundle,
        **{f"layer-{name}.cbor": data for name, data in definition.layer_bundles.items()},
    }
    for name, content in files.items():
        write_durably(directory / name, content)
    return [directory / name for name in files]


def _own_definition(name: str, table: RecordsTable, base: Path) -> NetworkDefinition:
    fields = (
        *(Field.integer(one) for one in table.integers),
        *(Field.decimal(one, DECIMALS) for one in table.decimals),
        *(Field.boolean(one) for one in table.booleans),
        *(Field.string(one, TEXT_BYTES) for one in table.texts),
    )
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2])
    schema = NetworkSchema(number, name, fields, (), Lanes(LaneKind.PAIR_U64, table.sums))
    path = base / table.function
    if not path.is_file():
        return NetworkDefinition(name=name, schema=schema, function=table.function)
    definition = NetworkDefinition(name=name, schema=schema, function="count")
    return definition.with_function(path.read_bytes(), {})
