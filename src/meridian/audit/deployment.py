"""Link `contracts`: the chain, the contracts on it, and the network file speak of the same network.

The deployed code must be the code that this installation ships: what follows believes the contracts' own answers.
"""

from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.source import Deployment, EvidenceSource, Network
from meridian.contracts.artefact import JUDGES, NAMES, load
from meridian.primitives.ids import ZERO_ADDRESS, address_text, network_id


def check_contracts(source: EvidenceSource, epoch: int) -> Finding:
    """Check code, wiring and constants of the contracts, and that the epoch is open.

    Raises:
        Broken: Naming each difference.
    """
    network, deployment = source.network, source.chain.deployment()
    problems = _differences(network, deployment)
    names = NAMES if network.disputes == ZERO_ADDRESS else NAMES + JUDGES
    for name in names:
        code = deployment.code.get(name, b"")
        if not code:
            problems.append(f"{name}: there is no contract at its address")
        elif not code.startswith(load(name).runtime):
            problems.append(
                f"{name}: the deployed code is not the code that this installation ships"
            )
    require(problems, "the network file and the chain disagree")
    opened = source.chain.opened(epoch)
    members = source.chain.committee(epoch)
    if opened is None or not members:
        raise Broken(f"epoch {epoch} is not open on chain, so nobody may decide it")
    if opened.n != len(members) or list(members) != sorted(set(members)):
        raise Broken(
            f"the committee of epoch {epoch} has {len(members)} members, not {opened.n} ascending"
        )
    return Finding(
        f"{len(names)} contracts on chain {deployment.chain_id} carry the shipped code and name each other; "
        f"epoch {epoch} has member set {opened.set_id} with {opened.n} members",
        tuple(f"{address_text(member)}" for member in members),
    )


def _differences(network: Network, deployment: Deployment) -> list[str]:
    expected = {
        "network id": (
            network_id(network.name).hex(),
            network.network_id.hex(),
            deployment.network_id.hex(),
        ),
        "chain id": (network.chain_id, deployment.chain_id),
        "genesis": (network.genesis_s, deployment.genesis_s),
        "epoch length": (network.epoch_seconds, deployment.epoch_seconds),
        "first epoch": (network.first_epoch, deployment.first_epoch),
    }
    problems = [
        f"{what}: {' / '.join(str(value) for value in values)}"
        for what, values in expected.items()
        if len(set(values)) != 1
    ]
    wiring = {
        "Registry.evaluations": network.evaluations,
        "Registry.disputes": network.disputes,
        "Commitments.registry": network.registry,
        "Commitments.disputes": network.disputes,
        "Evaluations.registry": network.registry,
        "Evaluations.commitments": network.commitments,
        "Evaluations.rewards": network.rewards,
        "Evaluations.disputes": network.disputes,
        "Rewards.registry": network.registry,
        "Rewards.evaluations": network.evaluations,
        "Rewards.disputes": network.disputes,
    }
    for name, address in wiring.items():
        actual = deployment.wiring.get(name)
        if actual != address:
            problems.append(
                f"{name} is {address_text(actual) if actual else 'unknown'}, not {address_text(address)}"
            )
    if network.aggregator not in deployment.aggregators:
        problems.append(f"aggregator {address_text(network.aggregator)} may not commit")
    return problems
