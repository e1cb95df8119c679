"""KZG commitments to columns of field elements, as EIP-4844 has them.

A column is a polynomial of degree below `SLOTS` over the scalar field of BLS12-381, given by its values at the `SLOTS`-th roots
of unity in bit-reversed order. An opening of 48 bytes shows its value at one of them; `contracts/kzg.vy` checks the same by
the point evaluation precompile. What columns say of a node's jobs is `summary_kzg`.

The trusted setup is an argument: reading it is not of the core. Sources: Kate, Zaverucha, Goldberg 2010; EIP-4844.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import ckzg

from meridian.errors import InvalidInput
from meridian.primitives.hashing import KZG_JOB, tagged

Setup = Any
"""What `ckzg.load_trusted_setup` returns."""

SLOTS: Final = 4096
MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The order of BLS12-381's groups, so of the field that values are in."""
ROOT_OF_UNITY: Final = pow(7, (MODULUS - 1) // SLOTS, MODULUS)
"""A primitive one; 7 generates the field's multiplicative group."""
POINT_BYTES: Final = 48
_FIELD_BYTES: Final = 32
_NAME_BYTES: Final = 31
"""A hash is cut to what is always below the modulus."""
_SLOT_BITS: Final = SLOTS.bit_length() - 1


def job_element(row: bytes) -> int:
    """Return the field element that names a job's row."""
    return int.from_bytes(tagged(KZG_JOB, row)[:_NAME_BYTES], "big")


def domain_point(slot: int) -> int:
    """Return where columns have the values of a slot: the slot's bits reversed, as a power of the root.

    Raises:
        InvalidInput: If there is no such slot.
    """
    if not 0 <= slot < SLOTS:
        raise InvalidInput("slot", f"{slot} is outside a column of {SLOTS}")
    return pow(ROOT_OF_UNITY, int(f"{slot:0{_SLOT_BITS}b}"[::-1], 2), MODULUS)


@dataclass(frozen=True, slots=True)
class Column:
    """A committed column, as who made it keeps it."""

    blob: bytes
    commitment: bytes

    @classmethod
    def of(cls, values: Sequence[int], setup: Setup) -> "Column":
        """Commit to values; the slots behind them hold 0.

        Raises:
            InvalidInput: If there are too many, or one is no field element.
        """
        if len(values) > SLOTS:
            raise InvalidInput("values", f"{len(values)}, a column has {SLOTS} slots")
        if not all(0 <= value < MODULUS for value in values):
            raise InvalidInput("values", "one is outside the field")
        blob = b"".join(map(_field, values)).ljust(SLOTS * _FIELD_BYTES, b"\x00")
        return cls(blob, ckzg.blob_to_kzg_commitment(blob, setup))

    def open(self, slot: int, setup: Setup) -> bytes:
        """Return the proof of the value in a slot."""
        return bytes(ckzg.compute_kzg_proof(self.blob, _field(domain_point(slot)), setup)[0])


def opens(commitment: bytes, slot: int, value: int, proof: bytes, setup: Setup) -> bool:
    """Tell whether a committed column has a value in a slot; bytes that are no curve points prove nothing."""
    try:
        point, said = _field(domain_point(slot)), _field(value)
        return bool(ckzg.verify_kzg_proof(commitment, point, said, proof, setup))
    except (RuntimeError, ValueError, OverflowError):  # not points of the group, no field element
        return False


def _field(value: int) -> bytes:
    return value.to_bytes(_FIELD_BYTES, "big")
