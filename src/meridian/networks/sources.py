"""The networks by name, and the jobs of their files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from meridian.errors import InvalidInput, NotFound
from meridian.networks import attestation, nym, saturn, spark, spark_chain, worldcup
from meridian.networks.definition import JobSource, NetworkDefinition

NETWORKS: Final[Mapping[str, NetworkDefinition]] = MappingProxyType(
    {
        module.DEFINITION.name: module.DEFINITION
        for module in (saturn, spark, spark_chain, nym, attestation, worldcup)
    }
)


def network_named(name: str) -> NetworkDefinition:
    """Return a network by name.

    Raises:
        NotFound: If there is none of that name.
    """
    if name not in NETWORKS:
        raise NotFound(f"no network {name!r}; known are {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def load(network: str, paths: Sequence[Path], *, epoch_seconds: int | None = None) -> JobSource:
    """Load the job files of a network.

    Args:
        network: Its name.
        paths: The files, plain or gzipped.
        epoch_seconds: Length of an epoch; None means the network's own.

    Raises:
        NotFound: If there is no such network or file.
        InvalidInput: If a file is malformed, or the network's epochs have a length of their own.
    """
    definition = network_named(network)
    if definition is attestation.DEFINITION:
        if epoch_seconds not in (None, attestation.INTERVAL_S):
            raise InvalidInput(
                "epoch_seconds", f"an interval of this network has {attestation.INTERVAL_S} s"
            )
        return attestation.load(paths)
    if definition is saturn.DEFINITION:
        length = saturn.EPOCH_SECONDS if epoch_seconds is None else epoch_seconds
        return saturn.load(paths, epoch_seconds=length)
    if definition is spark.DEFINITION:
        length = spark.EPOCH_SECONDS if epoch_seconds is None else epoch_seconds
        return spark.load(paths, epoch_seconds=length)
    if definition is spark_chain.DEFINITION:
        length = spark_chain.EPOCH_SECONDS if epoch_seconds is None else epoch_seconds
        return spark_chain.load(paths, epoch_seconds=length)
    if definition is nym.DEFINITION:
        return nym.load(
            paths, epoch_seconds=nym.EPOCH_SECONDS if epoch_seconds is None else epoch_seconds
        )
    length = worldcup.EPOCH_SECONDS if epoch_seconds is None else epoch_seconds
    return worldcup.load(paths, epoch_seconds=length)
