"""One term of an evaluator: replica, links, safety log and open epochs, made for it and dropped with it.

A void or a renewal on chain begins a new term. Nothing that was signed before counts in it, so nothing is carried over:
the evaluator stops what it has and starts again, as after a crash, with another log under another network id. Members
that are in different terms do not talk: their links refuse each other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from meridian.committee.rules import CommitteeRules
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.ephemera.term import term_network
from meridian.errors import MeridianError
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.open_epochs import OPEN_MAX, OpenEpochs
from meridian.node.evaluator.safety import log_directory, mark_first_log, open_safety_log
from meridian.node.evaluator.state import EpochState
from meridian.node.keystore import load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.links import Links, Peer
from meridian.node.network_file import NetworkFile
from meridian.node.replica_driver import ReplicaDriver
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


class TermEnded(MeridianError):
    """The chain is in another term; not a failure: the evaluator begins that one."""


class Term:
    """The agreement of one evaluator in one term.

    Args:
        config: Of the evaluator.
        network: Its network.
        key: Signs what is said.
        number: Of the term.
        rules: Judge rows; they expect none of this term's any more when it has stopped.
        epochs: Where each epoch stands.
        on_decided: As `ReplicaDriver`.
        on_attested: As `ReplicaDriver`.
        on_misbehaviour: As `ReplicaDriver`.
        on_opened: As `OpenEpochs`.
    """

    def __init__(
        self,
        config: EvaluatorConfig,
        network: NetworkFile,
        key: PrivateKey,
        number: int,
        rules: CommitteeRules,
        epochs: Mapping[int, EpochState],
        *,
        on_decided: Callable[[Decided], None],
        on_attested: Callable[[Attested], None],
        on_misbehaviour: Callable[[Misbehaviour], None],
        on_opened: Callable[[], None],
    ) -> None:
        self.number = number
        self._config, self._network, self._address = config, network, key.address
        self._network_id = term_network(network.network_id, number)
        self._domain = network.domain(network.contracts.evaluations)
        self._rules, self._epochs = rules, epochs
        self._peers: list[Peer] = []
        self._safety = open_safety_log(config.data_dir, network.network_id, key.address, number)
        limits = Limits(epochs_max=OPEN_MAX, closed_epochs_max=config.retained_epochs)
        replica = Replica(key, Timing(), limits, rules, archive=self._safety)
        self.driver = ReplicaDriver(
            replica,
            self._safety,
            on_decided=on_decided,
            on_attested=on_attested,
            on_misbehaviour=on_misbehaviour,
        )
        self.links = Links(
            link_identity(load_or_create_secret(config.link_key_file)),
            [],  # the chain names them: `meet`
            self.driver.deliver,
            address=key.address,
            network=self._network_id,
            listen=(config.listen_host, config.listen_port),
        )
        self.open_epochs = OpenEpochs(
            epochs,
            self.driver,
            rules,
            self._safety,
            data_dir=log_directory(config.data_dir, number),
            retained=config.retained_epochs,
            context=self.context,
            on_opened=on_opened,
            ours=key.address,
        )

    def context(self, epoch: int, members: tuple[Address, ...]) -> Context:
        """Return what statements about an epoch bind in this term."""
        return Context(self._domain, self._network_id, epoch, members)

    async def remember(self, committed: Iterable[int]) -> None:
        """Find out up to which epoch we may have forgotten what we signed in this term.

        Raises:
            StorageFailure: If a log or mark cannot be read.
        """
        begun = tuple(committed)
        await self.open_epochs.remember(begun)
        if self.number:
            mark_first_log(self._config.data_dir, self._network.network_id, self._address, begun)

    async def start(self, published: Sequence[tuple[int, tuple[Address, ...]]]) -> None:
        """Listen, drive, and answer about epochs (with their members) that were published before this start."""
        await self.links.start()
        await self.driver.start(self.links)
        await self.open_epochs.answer_for(published)

    def meet(self, peers: list[Peer]) -> bool:
        """Have links to exactly these peers; return whether they are others than before."""
        if peers == self._peers:
            return False
        self._peers = peers
        self.links.update_peers(peers)
        return True

    async def stop(self) -> None:
        """Stop driver and links, and release the safety log; raises what had ended the driver."""
        try:
            await self.driver.stop()
        finally:
            await self.links.stop()
            self._safety.close()
            for epoch in self._epochs:
                self._rules.forget(epoch)  # the next term may be about another commitment
