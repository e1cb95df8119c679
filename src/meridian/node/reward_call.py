"""The call with which a sponsor pays for an epoch, as the original design writes it down.

``{"evaluation_contract": "f4…", "fil_for_epoch": "2000"}``: exactly these two fields, both texts. The amount is an exact
decimal of whole coins; a number would already have lost digits on its way through other programs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.primitives.amounts import parse_fil
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import Address

FILE_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class RewardCall:
    """What a sponsor wishes to pay."""

    evaluation_contract: Address
    atto: int


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    evaluation_contract: str
    fil_for_epoch: str


def read_reward_call(path: Path) -> RewardCall:
    """Read the call from a file.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If a field is missing, unknown or wrong; it is named.
    """
    try:
        with path.open("rb") as file:
            document = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=_Document)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), str(error)) from error
    atto = parse_fil(document.fil_for_epoch, "fil_for_epoch")
    if not 0 < atto < 1 << 96:
        raise InvalidInput("fil_for_epoch", f"{document.fil_for_epoch!r} is not in 1 atto..2^96-1")
    return RewardCall(parse_account(document.evaluation_contract, "evaluation_contract"), atto)
