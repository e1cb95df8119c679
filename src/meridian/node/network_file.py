"""The public description of one running network: where its contracts, processes and publications are.

`network.json` stands in the data directory. It holds no secret and nothing that must be believed: whoever verifies an
epoch compares what it names with the chain.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

import msgspec

from meridian.contracts.deployment import Addresses
from meridian.errors import InvalidInput, NotFound
from meridian.measure.epoch import Calendar
from meridian.node.chain.finality import Confirmations, Finality, WaitSeconds, finality
from meridian.node.durable_file import write_durably
from meridian.node.publications import Place, place_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import (
    ZERO_ADDRESS,
    Address,
    address_text,
    network_id,
    parse_address,
    parse_digest,
)

VERSION: Final = 1
FILE_NAME: Final = "network.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorEntry:
    """One evaluator as its registration names it."""

    address: Address
    link_key: bytes
    """Its 32-byte Ed25519 link key."""
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """What everybody may know about a network."""

    network: str
    chain_id: int
    rpc_url: str
    contracts: Addresses
    deploy_block: int
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    measure_url: str
    publications: tuple[str, ...]
    """Where artefacts are published: directories relative to the data directory, the measure service's first, and
    http or https URLs of directories elsewhere."""
    function: str
    """The name of the evaluation function; its digest is on chain."""
    aggregator: Address
    log_vkey: str
    """Verifier key of the epoch log's checkpoints (C2SP signed note)."""
    schema_digest: bytes
    parameters_digest: bytes
    evaluators: tuple[EvaluatorEntry, ...]
    confirmations: int | None = None
    """Blocks on top before a transaction counts as done; None: the chain's usual."""
    transaction_wait_s: float | None = None
    """How long processes wait for that; None: the chain's usual."""

    @property
    def finality(self) -> Finality:
        """What the network's processes wait for when they send."""
        return finality(self.chain_id, self.confirmations, self.transaction_wait_s)

    @property
    def network_id(self) -> bytes:
        """The 32 bytes that every signature binds."""
        return network_id(self.network)

    def domain(self, contract: Address) -> Domain:
        """Return the EIP-712 domain of one of the contracts."""
        return Domain(chain_id=self.chain_id, contract=contract)

    @property
    def calendar(self) -> Calendar:
        """The network's epochs."""
        return Calendar(self.genesis_s, self.epoch_seconds, self.first_epoch)

    def directories(self, root: Path) -> list[Path]:
        """Return the publications that are directories, under a data directory."""
        return [root / path for path in self.publications if "://" not in path]

    def places(self, root: Path) -> list[Place]:
        """Return all publications, of a data directory and elsewhere.

        Raises:
            InvalidInput: If one is a URL that we cannot read.
        """
        return [place_of(text, root) for text in self.publications]

    def save(self, root: Path) -> None:
        """Write the file into a data directory, durably."""
        value: dict[str, Any] = {"version": VERSION, "network_id": self.network_id.hex()}
        value |= {
            "network": self.network,
            "chain_id": self.chain_id,
            "rpc_url": self.rpc_url,
            "contracts": {
                name: address_text(address)
                for name, address in asdict(self.contracts).items()
                if address != ZERO_ADDRESS
            },
            "deploy_block": self.deploy_block,
            "genesis_s": self.genesis_s,
            "epoch_seconds": self.epoch_seconds,
            "first_epoch": self.first_epoch,
            "measure_url": self.measure_url,
            "publications": list(self.publications),
            "function": self.function,
            "aggregator": address_text(self.aggregator),
            "log_vkey": self.log_vkey,
            "schema_digest": self.schema_digest.hex(),
            "parameters_digest": self.parameters_digest.hex(),
            "evaluators": [
                {
                    "address": address_text(entry.address),
                    "link_key": entry.link_key.hex(),
                    "host": entry.host,
                    "port": entry.port,
                }
                for entry in self.evaluators
            ],
        }
        chosen = {
            "confirmations": self.confirmations,
            "transaction_wait_s": self.transaction_wait_s,
        }
        value |= {name: number for name, number in chosen.items() if number is not None}
        write_durably(
            root / FILE_NAME, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        )

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the file of a data directory.

        Raises:
            NotFound: If there is none: no network was ever set up there.
            InvalidInput: If it is not one of ours; the field is named.
        """
        path = root / FILE_NAME
        try:
            value = msgspec.json.decode(path.read_bytes(), type=_Document)
            return cls._of(value)
        except FileNotFoundError:
            raise NotFound(
                f"{path}: no network here; `meridian run --data-dir {root}` makes one"
            ) from None
        except InvalidInput as error:
            raise InvalidInput(str(path), f"{error.field}: {error.reason}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise InvalidInput(str(path), str(error)) from error

    @classmethod
    def _of(cls, value: "_Document") -> Self:
        if value.version != VERSION:
            raise InvalidInput("version", f"{value.version!r} is not {VERSION}")
        if value.network_id != network_id(value.network).hex():
            raise InvalidInput("network_id", f"is not that of {value.network!r}")
        contracts = {
            name: parse_address(text, f"contracts.{name}")
            for name, text in msgspec.structs.asdict(value.contracts).items()
            if text
        }
        return cls(
            network=value.network,
            chain_id=value.chain_id,
            rpc_url=value.rpc_url,
            contracts=Addresses(**contracts),
            deploy_block=value.deploy_block,
            genesis_s=value.genesis_s,
            epoch_seconds=value.epoch_seconds,
            first_epoch=value.first_epoch,
            measure_url=value.measure_url,
            publications=value.publications,
            function=value.function,
            aggregator=parse_address(value.aggregator, "aggregator"),
            log_vkey=value.log_vkey,
            schema_digest=parse_digest(value.schema_digest, "schema_digest"),
            parameters_digest=parse_digest(value.parameters_digest, "parameters_digest"),
            evaluators=tuple(
                EvaluatorEntry(
                    address=parse_address(entry.address, "evaluators.address"),
                    link_key=parse_digest(entry.link_key, "evaluators.link_key"),
                    host=entry.host,
                    port=entry.port,
                )
                for entry in value.evaluators
            ),
            confirmations=value.confirmations,
            transaction_wait_s=value.transaction_wait_s,
        )


_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Contracts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    registry: str
    commitments: str
    evaluations: str
    rewards: str
    disputes: str = ""
    commitment_proofs: str = ""
    report_proofs: str = ""
    referees: str = ""


class _Evaluator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str
    link_key: str
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's own form: names and types, so that a wrong one is refused by its name."""

    version: int
    network_id: str
    network: str
    chain_id: _Positive
    rpc_url: str
    contracts: _Contracts
    deploy_block: _Unsigned
    genesis_s: _Unsigned
    epoch_seconds: _Positive
    first_epoch: _Unsigned
    measure_url: str
    publications: tuple[str, ...]
    function: str
    aggregator: str
    log_vkey: str
    schema_digest: str
    parameters_digest: str
    evaluators: tuple[_Evaluator, ...]
    confirmations: Confirmations | None = None
    transaction_wait_s: WaitSeconds | None = None
