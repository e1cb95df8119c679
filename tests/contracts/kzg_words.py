"""KzgProofs on an in-memory EVM, and answers as its words."""

from typing import Any

from alone_world import AloneWorld
from contract_world import Contract

from meridian.models.kzg import JobOpening


def proofs_contract() -> Contract:
    """The contract, deployed alone."""
    return AloneWorld().contract("KzgProofs")


def opening_words(opening: JobOpening) -> tuple[Any, ...]:
    """An answer as the contract takes it."""
    chunk = opening.chunk
    path = [(node[:32], int.from_bytes(node[32:], "big") << 64) for node in opening.path]
    return (
        (chunk.names, chunk.values, chunk.jobs, chunk.total),
        path,
        opening.name_proof,
        opening.value_proof,
        opening.total_proof,
    )
