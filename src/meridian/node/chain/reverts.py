"""Why a contract refused: from revert data, or from the error of whichever endpoint, to one line of text."""

from typing import Final

import eth_abi.abi
import eth_abi.exceptions

from meridian.errors import Reverted
from meridian.node.chain.rpc import REVERTED_CODE, RpcError

NO_REASON: Final = "no reason given"

_ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")
_PANIC_SELECTOR: Final = bytes.fromhex("4e487b71")
_PREFIX: Final = "execution reverted"


def revert_reason(output: bytes) -> str:
    """Return the text of revert data: Error(string), Panic(uint256), else the selector; empty when there is none."""
    kind, body = output[:4], output[4:]
    try:
        if kind == _ERROR_SELECTOR:
            return str(eth_abi.abi.decode(["string"], body)[0])
        if kind == _PANIC_SELECTOR:
            return f"panic 0x{eth_abi.abi.decode(['uint256'], body)[0]:02x}"
    except (eth_abi.exceptions.DecodingError, ValueError, OverflowError):
        pass
    return f"custom error 0x{kind.hex()}" if kind else ""


def as_reverted(error: RpcError) -> Reverted | None:
    """Return the refusal of a contract that an endpoint's error tells of, or None if it tells of something else."""
    if error.code != REVERTED_CODE and "revert" not in error.message.lower():
        return None
    if isinstance(error.data, str) and error.data.startswith("0x"):
        try:
            reason = revert_reason(bytes.fromhex(error.data[2:]))
        except ValueError:
            reason = ""
        if reason:
            return Reverted(reason)
    text = error.message.removeprefix(_PREFIX).lstrip(": ")
    return Reverted(text or NO_REASON)
