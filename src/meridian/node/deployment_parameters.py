"""What a network fixes when it is deployed, as a JSON file that people write.

The names are those of `contracts.deployment.Parameters` and the structs in it. Amounts are exact decimals of whole
coins and stand under the name without ``_atto``; accounts have any of their forms; the network is its name; a digest is
64 hex digits. A field with a default may be left out; one that is unknown is refused.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.contracts.deployment import Parameters
from meridian.errors import InvalidInput, NotFound
from meridian.primitives.amounts import format_fil, parse_fil
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import Address, address_text, network_id, parse_digest

FILE_BYTES_MAX: Final = 1 << 20
_ATTO: Final = "_atto"


def read_parameters(path: Path) -> tuple[str, Parameters]:
    """Return a network's name and parameters from a file.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If a field is missing, unknown or wrong; it is named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
        document = msgspec.json.decode(data, type=dict[str, Any])
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), str(error)) from error
    return parameters_of(document)


def parameters_of(document: Mapping[str, Any]) -> tuple[str, Parameters]:
    """Return a network's name and parameters from the object of a file.

    Raises:
        InvalidInput: If a field is missing, unknown or wrong; it is named.
    """
    name = document.get("network")
    if not isinstance(name, str) or not name:
        raise InvalidInput("network", "is not the network's name")
    values = {**document, "network": network_id(name).hex()}
    return name, _struct(Parameters, values, "")


def parameters_document(name: str, parameters: Parameters) -> dict[str, Any]:
    """Return the JSON object that `read_parameters` reads back as the same."""
    document: dict[str, Any] = _plain(parameters)
    return {**document, "network": name}


def _struct(kind: type[Any], values: Mapping[str, Any], place: str) -> Any:
    hints = typing.get_type_hints(kind)
    known: dict[str, Any] = {}
    left = dict(values)
    for field in dataclasses.fields(kind):
        shown = field.name.removesuffix(_ATTO)
        where = f"{place}{shown}"
        if shown in left:
            value = left.pop(shown)
            if field.name.endswith(_ATTO):
                known[field.name] = parse_fil(_text(value, where), where)
            else:
                known[field.name] = _value(hints[field.name], value, where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidInput(where, "is missing")
    if left:
        raise InvalidInput(f"{place}{min(left)}", "is unknown")
    return kind(**known)


def _value(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, types.UnionType):  # `X | None`
        if value is None:
            return None
        [kind] = [one for one in kind.__args__ if one is not types.NoneType]
    if kind is Address:
        return parse_account(_text(value, where), where)
    if kind is bytes:
        return parse_digest(_text(value, where), where)
    if kind in {int, bool}:
        if type(value) is not kind or value < 0:
            raise InvalidInput(where, f"{value!r} is no {kind.__name__} of 0 or more")
        return value
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InvalidInput(where, "is not a list")
        return tuple(
            _value(typing.get_args(kind)[0], one, f"{where}[{at}]") for at, one in enumerate(value)
        )
    if not isinstance(value, dict):
        raise InvalidInput(where, "is not an object")
    return _struct(kind, value, f"{where}.")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(where, f"{value!r} is not a text")
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name.removesuffix(_ATTO): format_fil(getattr(value, field.name))
            if field.name.endswith(_ATTO)
            else _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, bytes):
        return address_text(Address(value)) if len(value) == 20 else value.hex()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
