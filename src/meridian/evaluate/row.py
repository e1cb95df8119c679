"""An evaluator's row: what it contributes to the agreement, as canonical bytes.

The header says what was evaluated and with what; then stand the verdict root and, for each node in ascending order of
keys, whether the evaluator speaks about it and its weight. The protocol carries only the row's 32-byte root; two honest
evaluators have equal roots. The body says nothing of its author: that is the protocol's signature.

    version u16 | network 32 | epoch u64 | commitment 32 | function 32 | parameters 32 | inputs root 32 |
    verdict root 32 | n u32 | n x node key 32 | n x present u8 | n x weight u128
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.function import WEIGHT_END, EpochInput, Evaluation
from meridian.evaluate.verdicts import evaluation_root
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import ROW_BODY, tagged

VERSION: Final = 1
NODES_MAX: Final = 1 << 24
_NODE_BYTES: Final = 32 + 1 + 16


@dataclass(frozen=True, slots=True)
class RowHeader:
    """What all honest rows of an epoch agree on before anyone evaluates."""

    network: bytes
    epoch: int
    commitment: bytes
    """The epoch's digest on chain, over all aggregators."""
    function: bytes
    parameters: bytes
    inputs_root: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluator's result."""

    header: RowHeader
    verdict_root: bytes
    node_keys: tuple[bytes, ...]
    weights: tuple[int | None, ...]
    """One for each key; None abstains."""

    @classmethod
    def of(cls, header: RowHeader, epoch: EpochInput, evaluation: Evaluation) -> Self:
        """Return the row of an evaluation."""
        root = evaluation_root(epoch, evaluation)
        return cls(header, root, epoch.node_keys, evaluation.weights)

    def encode(self) -> bytes:
        """Return the body.

        Raises:
            InvalidInput: If the keys do not ascend or a weight does not fit in 128 bits.
        """
        _check_keys(self.node_keys)
        if len(self.weights) != len(self.node_keys):
            raise InvalidInput("weights", f"{len(self.weights)} for {len(self.node_keys)} nodes")
        if any(weight is not None and not 0 <= weight < WEIGHT_END for weight in self.weights):
            raise InvalidInput("weights", "one does not fit in 128 bits")
        header = self.header
        writer = Writer().u16(VERSION).fixed(header.network, 32).u64(header.epoch)
        writer.fixed(header.commitment, 32).fixed(header.function, 32).fixed(header.parameters, 32)
        writer.fixed(header.inputs_root, 32).fixed(self.verdict_root, 32).u32(len(self.node_keys))
        present = bytes(weight is not None for weight in self.weights)
        numbers = b"".join([(weight or 0).to_bytes(16, "big") for weight in self.weights])
        return b"".join((writer.bytes(), *self.node_keys, present, numbers))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body.

        Raises:
            InvalidInput: If it is not the one encoding of a row.
        """
        reader = Reader(body)
        if (version := reader.u16()) != VERSION:
            raise InvalidInput("version", f"{version} is not {VERSION}")
        network, epoch = reader.fixed(32), reader.u64()
        header = RowHeader(network, epoch, *(reader.fixed(32) for _ in range(4)))
        root, n = reader.fixed(32), reader.u32()
        if n > NODES_MAX:
            raise InvalidInput("nodes", f"{n} nodes; at most {NODES_MAX} are allowed")
        block = reader.fixed(n * _NODE_BYTES)
        reader.finish()
        keys = tuple(block[at : at + 32] for at in range(0, 32 * n, 32))
        _check_keys(keys)
        present = block[32 * n : 33 * n]
        numbers = [int.from_bytes(block[at : at + 16], "big") for at in range(33 * n, 49 * n, 16)]
        if present.translate(None, b"\x00\x01"):
            raise InvalidInput("present", "is neither 0 nor 1")
        if any(weight and not here for weight, here in zip(numbers, present, strict=True)):
            raise InvalidInput("weights", "an abstention carries a weight")
        weights = tuple(
            weight if here else None for weight, here in zip(numbers, present, strict=True)
        )
        return cls(header, root, keys, weights)


def _check_keys(keys: tuple[bytes, ...]) -> None:
    if any(len(key) != 32 for key in keys) or any(a >= b for a, b in pairwise(keys)):
        raise InvalidInput("nodes", "their keys are not 32 bytes each in ascending order")


def row_root(body: bytes) -> bytes:
    """Return the 32 bytes that stand for a body in the protocol."""
    return tagged(ROW_BODY, body)


def check_row_header(body: bytes, expected: RowHeader) -> str | None:
    """Return why a member's row cannot belong to this evaluation, or None where it can.

    Only what everybody can see is checked: the form, and that the member evaluated the same thing. Its weights are its
    own to answer for.
    """
    try:
        row = Row.decode(body)
    except InvalidInput as error:
        return str(error)
    for name in RowHeader.__slots__:
        if getattr(row.header, name) != getattr(expected, name):
            return f"{name}: is not the one of this epoch"
    return None
