"""An accusation as a file: found by whoever looks, looked at by whoever wants to, sent by whoever pays the gas.

``{"version": 1, "network", "contract", "function", "calldata", "epoch", "guilty", "reason"}``. The call data are what
is sent; the other fields say in words what they are, and are refused where they do not fit. Whether an accusation is
right is decided by the contracts alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.contracts.artefact import JUDGES, load
from meridian.disputes.accusation import Accusation
from meridian.errors import InvalidInput, NotFound
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import Address, address_text

VERSION: Final = 1
FILE_BYTES_MAX: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class AccusationFile:
    """What an accusation's file says."""

    network: str
    contract: str
    function: str
    calldata: bytes
    epoch: int
    guilty: tuple[Address, ...]
    reason: str

    @property
    def takes_bond(self) -> bool:
        """Whether the call locks the bond of `Disputes`."""
        return self.contract == "Disputes" and self.function in {"challenge", "escalate"}

    def encode(self) -> bytes:
        """Return the file's bytes."""
        value = {
            "version": VERSION,
            "network": self.network,
            "contract": self.contract,
            "function": self.function,
            "epoch": self.epoch,
            "guilty": [address_text(one) for one in self.guilty],
            "reason": self.reason,
            "calldata": "0x" + self.calldata.hex(),
        }
        return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    network: str
    contract: str
    function: str
    epoch: int
    guilty: tuple[str, ...]
    reason: str
    calldata: str


def file_of(client: ChainClient, network: str, accusation: Accusation) -> AccusationFile:
    """Return the file of an accusation; raises `InvalidInput` if its arguments do not fit the contract."""
    contract = Contract(client, Address(bytes(20)), load(accusation.contract))
    return AccusationFile(
        network=network,
        contract=accusation.contract,
        function=accusation.function,
        calldata=contract.encode(accusation.function, *accusation.arguments),
        epoch=accusation.epoch,
        guilty=accusation.guilty,
        reason=accusation.reason,
    )


def read_accusation(path: Path, client: ChainClient) -> tuple[AccusationFile, tuple[Any, ...]]:
    """Return an accusation and its call's arguments from a file.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If a field is wrong, or the call data are no call of the function that it names.
    """
    try:
        with path.open("rb") as file:
            value = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=_Document)
        calldata = bytes.fromhex(value.calldata.removeprefix("0x"))
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(str(path), str(error)) from error
    if value.version != VERSION:
        raise InvalidInput("version", f"{value.version} is not {VERSION}")
    if value.contract not in JUDGES:
        raise InvalidInput("contract", f"{value.contract!r} is none of {', '.join(JUDGES)}")
    contract = Contract(client, Address(bytes(20)), load(value.contract))
    function, arguments = contract.decode_call(calldata)
    if function != value.function:
        raise InvalidInput("calldata", f"calls {function}, not {value.function}")
    found = AccusationFile(
        network=value.network,
        contract=value.contract,
        function=function,
        calldata=calldata,
        epoch=value.epoch,
        guilty=tuple(parse_account(one, "guilty") for one in value.guilty),
        reason=value.reason,
    )
    return found, arguments
