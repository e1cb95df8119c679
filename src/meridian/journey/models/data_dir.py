"""``model.json``: what a model's data directory says about itself.

It stands there from the start, before anything is sent, so that no directory is ever used by two models; the contracts'
addresses are added when they are known. It holds no secret, and nothing that must be believed: whoever verifies compares it
with the chain. A directory of the orchestrator has ``network.json`` in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Self

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.journey.models.registry import DEFAULT, MODELS
from meridian.networks.definition import JobSource
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.network_file import FILE_NAME as NETWORK_FILE
from meridian.primitives.ids import Address, address_text, parse_address

FILE_NAME: Final = "model.json"
FILE_BYTES_MAX: Final = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What everybody may know about a model's network."""

    model: str
    network: str
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    n_epochs: int
    function_digest: bytes
    parameters_digest: bytes
    schema_digest: bytes
    chain_id: int = 0
    """0 until the chain is known."""
    rpc_url: str = ""
    contracts: Mapping[str, Address] = field(default_factory=dict)
    """Name of the artefact -> address; empty until they are deployed."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What the model itself adds, as JSON."""

    @classmethod
    def of(cls, model: str, source: JobSource, **values: Any) -> Self:
        """Return the file of a model that runs the jobs of a source; further fields by name."""
        definition = source.definition
        return cls(
            model=model,
            network=definition.name,
            genesis_s=source.genesis_s,
            epoch_seconds=source.epoch_seconds,
            first_epoch=source.first_epoch,
            n_epochs=source.n_epochs,
            function_digest=definition.evaluation_function.digest,
            parameters_digest=definition.parameters.digest,
            schema_digest=definition.schema.digest,
            **values,
        )

    @property
    def epochs(self) -> range:
        """The epochs of the run, in order."""
        return range(self.first_epoch, self.first_epoch + self.n_epochs)

    def check_epoch(self, epoch: int) -> None:
        """Refuse an epoch that the run does not have.

        Raises:
            NotFound: Naming those that there are.
        """
        if epoch not in self.epochs:
            raise NotFound(f"no epoch {epoch}; there are {self.epochs[0]}..{self.epochs[-1]} here")

    def save(self, root: Path) -> None:
        """Write the file, durably.

        Raises:
            StorageFailure: If the disk refused.
        """
        document = _Document(
            model=self.model,
            network=self.network,
            genesis_s=self.genesis_s,
            epoch_seconds=self.epoch_seconds,
            first_epoch=self.first_epoch,
            n_epochs=self.n_epochs,
            function_digest=self.function_digest.hex(),
            parameters_digest=self.parameters_digest.hex(),
            schema_digest=self.schema_digest.hex(),
            chain_id=self.chain_id,
            rpc_url=self.rpc_url,
            contracts={name: address_text(one) for name, one in self.contracts.items()},
            more=dict(self.more),
        )
        text = msgspec.json.format(msgspec.json.encode(document), indent=2)
        write_durably(root / FILE_NAME, text + b"\n")

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the file of a data directory.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it is not of its form.
        """
        data = read_whole(root / FILE_NAME, FILE_BYTES_MAX)
        try:
            value = msgspec.json.decode(data, type=_Document)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(FILE_NAME, str(error)) from error
        return cls(
            model=value.model,
            network=value.network,
            genesis_s=value.genesis_s,
            epoch_seconds=value.epoch_seconds,
            first_epoch=value.first_epoch,
            n_epochs=value.n_epochs,
            function_digest=bytes.fromhex(value.function_digest),
            parameters_digest=bytes.fromhex(value.parameters_digest),
            schema_digest=bytes.fromhex(value.schema_digest),
            chain_id=value.chain_id,
            rpc_url=value.rpc_url,
            contracts={
                name: parse_address(text, f"contracts.{name}")
                for name, text in value.contracts.items()
            },
            more=value.more,
        )


_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's own form: names and types, so that a wrong one is refused by its name."""

    model: str
    network: str
    genesis_s: _Unsigned
    epoch_seconds: _Positive
    first_epoch: _Unsigned
    n_epochs: _Positive
    function_digest: _Digest
    parameters_digest: _Digest
    schema_digest: _Digest
    chain_id: _Unsigned
    rpc_url: str
    contracts: dict[str, str]
    more: dict[str, Any]


def model_of(root: Path) -> str:
    """Return the name of the model whose data directory this is: the orchestrator's where there is no ``model.json``.

    Raises:
        InvalidInput: If the file is not of its form, or names no model.
    """
    if not (root / FILE_NAME).exists():
        return DEFAULT
    name = ModelFile.load(root).model
    if name not in MODELS:
        raise InvalidInput(FILE_NAME, f"{name!r} is none of {', '.join(MODELS)}")
    return name


def refuse_other_model(root: Path, model: str) -> None:
    """Refuse a data directory that another model has used; a new one is anybody's.

    Raises:
        InvalidInput: Naming the model that was here.
    """
    used = (root / FILE_NAME).exists() or (root / NETWORK_FILE).exists()
    if used and (there := model_of(root)) != model:
        raise InvalidInput(
            "--data-dir", f"{root} holds a run of the model {there}; give {model} another directory"
        )


def begin(root: Path, file: ModelFile) -> ModelFile:
    """Take a data directory for a run, or for going on with it; the directory must exist.

    Args:
        root: The directory.
        file: Made by `ModelFile.of` from what is to run.

    Returns:
        The file as it stands there now, with the contracts of the run that is gone on with.

    Raises:
        InvalidInput: If another model, network or number of epochs was here.
    """
    refuse_other_model(root, file.model)
    if not (root / FILE_NAME).exists():
        file.save(root)
        return file
    known = ModelFile.load(root)
    for name in (
        "network", "genesis_s", "epoch_seconds", "first_epoch", "n_epochs",
        "function_digest", "parameters_digest", "schema_digest",
    ):  # fmt: skip
        ours, theirs = getattr(file, name), getattr(known, name)
        if ours != theirs:
            shown = [one.hex() if isinstance(one, bytes) else one for one in (theirs, ours)]
            raise InvalidInput(
                "--data-dir",
                f"{root} holds a network with {name} {shown[0]}, these jobs make {shown[1]};"
                " give another directory",
            )
    return known
