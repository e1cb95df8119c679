"""Which contracts a network has and where its chain is: `deployment.json`, or the `network.json` of a running network.

It holds no secret. `meridian chain deploy` writes the first; whoever runs a network writes the second.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec

from meridian.contracts.deployment import Addresses
from meridian.errors import InvalidInput, NotFound
from meridian.node import network_file
from meridian.node.durable_file import write_durably
from meridian.node.network_file import NetworkFile
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import address_text, network_id

VERSION: Final = 1
FILE_NAME: Final = "deployment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A network's contracts on one chain."""

    network: str
    chain_id: int
    rpc_url: str
    contracts: Addresses
    deploy_block: int
    """No event of the contracts is older."""

    @property
    def network_id(self) -> bytes:
        """The 32 bytes that every signature binds."""
        return network_id(self.network)

    def save(self, root: Path) -> None:
        """Write the file into a directory, durably."""
        contracts = {
            field.name: address_text(getattr(self.contracts, field.name))
            for field in dataclasses.fields(self.contracts)
        }
        value = {"version": VERSION, **dataclasses.asdict(self), "contracts": contracts}
        root.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(value), indent=2)
        write_durably(root / FILE_NAME, text + b"\n")

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read a directory's `network.json`, or its `deployment.json` where there is no network yet.

        Raises:
            NotFound: If there is neither.
            InvalidInput: If the file is not one of ours; the field is named.
        """
        if (root / network_file.FILE_NAME).exists():
            known = NetworkFile.load(root)
            return cls(
                network=known.network,
                chain_id=known.chain_id,
                rpc_url=known.rpc_url,
                contracts=known.contracts,
                deploy_block=known.deploy_block,
            )
        path = root / FILE_NAME
        try:
            value = msgspec.json.decode(path.read_bytes(), type=_Document)
        except FileNotFoundError:
            raise NotFound(
                f"{path}: no contracts here; `meridian chain deploy --data-dir {root}` deploys them"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise InvalidInput(str(path), str(error)) from error
        if value.version != VERSION:
            raise InvalidInput(str(path), f"version: {value.version!r} is not {VERSION}")
        names = {field.name for field in dataclasses.fields(Addresses)}
        if value.contracts.keys() - names:
            raise InvalidInput(
                str(path), f"contracts: {min(value.contracts.keys() - names)} is unknown"
            )
        required = {
            field.name
            for field in dataclasses.fields(Addresses)
            if field.default is dataclasses.MISSING
        }
        if required - value.contracts.keys():
            raise InvalidInput(
                str(path), f"contracts: {min(required - value.contracts.keys())} is missing"
            )
        return cls(
            network=value.network,
            chain_id=value.chain_id,
            rpc_url=value.rpc_url,
            contracts=Addresses(
                **{
                    name: parse_account(text, f"contracts.{name}")
                    for name, text in value.contracts.items()
                }
            ),
            deploy_block=value.deploy_block,
        )


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    network: str
    chain_id: Annotated[int, msgspec.Meta(ge=1)]
    rpc_url: str
    contracts: dict[str, str]
    deploy_block: Annotated[int, msgspec.Meta(ge=0)]
