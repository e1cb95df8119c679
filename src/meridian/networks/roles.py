"""The files of each role in a network, made from a few answers: sponsor, aggregator, evaluator, node.

A role's folder holds its configuration (TOML with a comment on every key) and its keys; what is there already is never
replaced unless the caller says so, and keys never. The order in a new network: the aggregator's key, the sponsor's
contracts, the aggregator's configuration with the public `network.json`, evaluators, nodes.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.registry import FUNCTIONS
from meridian.measure.schema import NetworkSchema
from meridian.measure.signed_note import verifier_of
from meridian.networks.sponsor_file import SCHEMA_FILE, SponsorConfig
from meridian.node import config_file
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain_view import ChainView
from meridian.node.deployment_file import FILE_NAME as DEPLOYMENT
from meridian.node.deployment_file import Deployment
from meridian.node.durable_file import write_durably
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.safety import set_up
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.measure.config import MeasureConfig
from meridian.node.network_file import FILE_NAME as NETWORK
from meridian.node.network_file import NetworkFile
from meridian.node.operator_config import OperatorConfig
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, address_text

GENESIS_AFTER_S: Final = 600
"""How far ahead a new network's first epoch starts, where nobody says otherwise."""

DISPUTES: Final[Mapping[str, Any]] = {
    "bond": "5",
    "response_seconds": 3_600,
    "burn_ppm": 100_000,
    "burn_address": "0x000000000000000000000000000000000000dead",
    "referee_stake_min": "1",
    "voting_seconds": 86_400,
}
"""What a new network begins with, where it has referees."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made, and what comes next."""

    files: tuple[Path, ...]
    account: Address
    """The role's own account on the chain."""
    next: tuple[str, ...]
    """Commands, and what to tell whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a role's files go, and whether its configuration may be replaced."""

    directory: Path
    network_dir: Path
    overwrite: bool = False

    def write(self, name: str, kind: type[msgspec.Struct], values: Mapping[str, Any]) -> Path:
        """Write a configuration that was read back first, as its server will read it.

        Raises:
            InvalidInput: If there is one already, or a value does not fit.
        """
        path = self.directory / name
        text = config_file.render(kind, values)
        config_file.parse(text, kind, path)
        if path.exists() and not self.overwrite:
            raise InvalidInput(str(path), "is there already; --overwrite replaces it")
        self.directory.mkdir(parents=True, exist_ok=True)
        write_durably(path, text.encode())
        return path

    def key(self, name: str) -> Path:
        """Return the path of a key; the folder is its owner's alone."""
        return self.directory / "keys" / name

    def seen(self, path: Path) -> str:
        """Return a path as it stands in a configuration in this folder."""
        return os.path.relpath(path.absolute(), self.directory.absolute())


def sponsor(place: Place, answers: Mapping[str, Any]) -> Prepared:
    """Write ``sponsor.toml`` and make the sponsor's key where there is none.

    Args:
        place: Where.
        answers: Keys of `SponsorConfig`; what is left out gets its default.
    """
    key = place.key("sponsor.key")
    values = {
        "data_dir": place.seen(place.network_dir),
        "key_file": place.seen(key),
        **answers,
        "contracts": {"genesis_s": int(time.time()) + GENESIS_AFTER_S, **answers["contracts"]},
    }
    path = place.write("sponsor.toml", SponsorConfig, values)
    account = load_or_create_key(key).address
    return Prepared(
        (path,),
        account,
        (
            f"give {address_text(account)} coins for gas and funds",
            f"meridian chain deploy --config {path} --yes",
            f"meridian chain fund --config {path} --yes",
        ),
    )


def aggregator(place: Place, *, host: str, port: int, publications: tuple[str, ...]) -> Prepared:
    """Make an aggregator's keys and, once the contracts are there, ``aggregator.toml`` and the public `network.json`.

    Args:
        place: Where.
        host: Where the measure service listens.
        port: The same.
        publications: Where evaluators publish, beside its own publication.

    Raises:
        RemoteFault: If the chain does not answer.
    """
    account = load_or_create_key(place.key("aggregator.key")).address
    config = place.directory / "aggregator.toml"
    try:
        deployment = Deployment.load(place.network_dir)
    except NotFound:
        told = f"give the sponsor this account, for contracts.aggregators: {address_text(account)}"
        again = f"when {place.network_dir / DEPLOYMENT} is there, run this command again"
        return Prepared((), account, (told, again))
    values = _measure_values(place, deployment, host, port)
    network = _network_file(place, deployment, f"http://{host}:{port}", account, publications)
    path = place.write(config.name, MeasureConfig, {**values, **_calendar(network)})
    network.save(place.network_dir)
    told = f"give {place.network_dir / NETWORK} to evaluators and nodes"
    return Prepared(
        (path, place.network_dir / NETWORK),
        account,
        (f"meridian serve measure --config {path}", told),
    )


def evaluator(place: Place, *, host: str, port: int) -> Prepared:
    """Make an evaluator's keys and, once there is a `network.json`, ``evaluator.toml`` and its empty memory of what it signed."""
    key, link, state = place.key("evaluator.key"), place.key("link.key"), place.directory / "state"
    account = load_or_create_key(key).address
    if not (place.network_dir / NETWORK).is_file():
        return _too_early(place, account)
    network = NetworkFile.load(place.network_dir)
    values = {
        "network_dir": place.seen(place.network_dir),
        "data_dir": place.seen(state),
        "key_file": place.seen(key),
        "link_key_file": place.seen(link),
        "listen_host": host,
        "listen_port": port,
    }
    path = place.write("evaluator.toml", EvaluatorConfig, values)
    link_key = link_identity(load_or_create_secret(link)).link_key.hex()
    set_up(state, network.network_id, account)
    public = os.path.relpath((state / "public").absolute(), place.network_dir.absolute())
    if public not in network.publications:
        replace(network, publications=(*network.publications, public)).save(place.network_dir)
    stake = f"meridian chain stake evaluator --data-dir {place.network_dir} --link-key {link_key}"
    stake += f" --endpoint {host}:{port} --key {key} --yes"
    return Prepared(
        (path,),
        account,
        (
            f"give {address_text(account)} coins for its stake and gas",
            stake,
            f"meridian serve evaluator --config {path}",
        ),
    )


def node(place: Place, *, node_id: str) -> Prepared:
    """Make the operator's key and, once there is a `network.json`, ``node.toml``."""
    key = place.key("operator.key")
    account = load_or_create_key(key).address
    if not (place.network_dir / NETWORK).is_file():
        return _too_early(place, account)
    values = {
        "network_dir": place.seen(place.network_dir),
        "node_id": node_id,
        "key_file": place.seen(key),
        "receipts_dir": "receipts",
    }
    path = place.write("node.toml", OperatorConfig, values)
    return Prepared(
        (path,),
        account,
        (
            f"give {address_text(account)} coins for its stake and gas",
            f"meridian chain stake node --data-dir {place.network_dir} --node {node_id} --key {key} --yes",
            f"meridian submit FILE --config {path}",
            f"meridian watch --config {path}",
        ),
    )


def _too_early(place: Place, account: Address) -> Prepared:
    again = f"when {place.network_dir / NETWORK} is there, run this command again"
    return Prepared((), account, (f"give {address_text(account)} coins", again))


def _measure_values(place: Place, deployment: Deployment, host: str, port: int) -> dict[str, Any]:
    artefacts = sorted(place.network_dir.glob("*.cbor"))
    if not any(path.name == SCHEMA_FILE for path in artefacts):
        raise NotFound(f"{place.network_dir / SCHEMA_FILE}: the sponsor's artefacts are missing")
    secrets = {
        "key_file": "aggregator.key",
        "log_key_file": "epoch-log.key",
        "secret_file": "measure-secret.key",
        "gateway_token_file": "gateway-token.key",
        "admin_token_file": "admin-token.key",
    }
    for name in secrets.values():
        load_or_create_secret(place.key(name))
    contracts = deployment.contracts
    return {
        "network": deployment.network,
        "schema_file": place.seen(place.network_dir / SCHEMA_FILE),
        "artefact_files": [place.seen(path) for path in artefacts if path.name != SCHEMA_FILE],
        "data_dir": ".",
        **{name: place.seen(place.key(file)) for name, file in secrets.items()},
        "chain_id": deployment.chain_id,
        "commitments": address_text(contracts.commitments),
        "chain": {
            "rpc_url": deployment.rpc_url,
            "registry": address_text(contracts.registry),
            "evaluations": address_text(contracts.evaluations),
            "rewards": address_text(contracts.rewards),
            "deploy_block": deployment.deploy_block,
        },
        "listen_host": host,
        "listen_port": port,
    }


def _calendar(network: NetworkFile) -> dict[str, int]:
    return {
        "genesis_s": network.genesis_s,
        "epoch_seconds": network.epoch_seconds,
        "first_epoch": network.first_epoch,
    }


def _network_file(
    place: Place,
    deployment: Deployment,
    url: str,
    account: Address,
    publications: tuple[str, ...],
) -> NetworkFile:
    """Return the public description, with what only the chain knows."""
    with reachable_chain(place.network_dir, deployment.rpc_url, deployment.chain_id) as rpc:
        registry = ChainView(rpc, deployment.contracts).registry
        calendar = [registry.read(name) for name in ("genesis", "epoch_seconds", "first_epoch")]
    seed = load_or_create_secret(place.key("epoch-log.key"))
    own = os.path.relpath((place.directory / "public").absolute(), place.network_dir.absolute())
    schema = NetworkSchema.decode((place.network_dir / SCHEMA_FILE).read_bytes())
    return NetworkFile(
        network=deployment.network,
        chain_id=deployment.chain_id,
        rpc_url=deployment.rpc_url,
        contracts=deployment.contracts,
        deploy_block=deployment.deploy_block,
        genesis_s=calendar[0],
        epoch_seconds=calendar[1],
        first_epoch=calendar[2],
        measure_url=url,
        publications=(own, *publications),
        function=_function_name((place.network_dir / "function.cbor").read_bytes()),
        aggregator=account,
        log_vkey=verifier_of(f"meridian/{deployment.network}", seed).text,
        schema_digest=schema.digest,
        parameters_digest=digest_of((place.network_dir / "parameters.cbor").read_bytes()),
        evaluators=(),
    )


def _function_name(bundle: bytes) -> str:
    for one in FUNCTIONS.values():
        if one.bundle == bundle:
            return one.name
    return Bundle.decode(bundle).name
