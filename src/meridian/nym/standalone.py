"""The current way: the first Nym-Api averages its own readings and submits them; nobody can contradict it."""

import asyncio

from meridian.audit.evidence import Link
from meridian.nym.contract_client import ContractClient
from meridian.nym.evidence import Case, check_case
from meridian.nym.network import NymNetwork
from meridian.nym.rewards import NO_BLOCK, Report, Submission, sign_submission
from meridian.nym.rows import Row
from meridian.nym.submitting import submit_until_settled
from meridian.primitives.keys import PrivateKey

REPORTER = 1
"""The Nym-Api that computes and submits."""


class StandaloneWay:
    """See `way.Way`."""

    def __init__(
        self, network: NymNetwork, number: int, key: PrivateKey, client: ContractClient
    ) -> None:
        self._network = network
        self._reports = number == REPORTER
        self._key = key
        self._client = client
        self._rows: dict[int, Row] = {}

    async def start(self) -> None:
        """There is nobody to talk to."""

    async def resume(self, current: int) -> None:
        """Nothing is decided together."""
        del current

    async def watch(self) -> None:
        """Nothing runs beside the distributor."""
        await asyncio.Event().wait()

    async def contribute(self, epoch: int, row: Row | None) -> None:
        """Submit our own row, if we are the one that reports."""
        if not self._reports or row is None:
            return
        network = self._network
        self._rows[epoch] = row
        report = Report(epoch, NO_BLOCK, network.aggregate, row.spread(network.mixnodes))
        await submit_until_settled(self._client, sign_submission(network.realm, report, self._key))

    async def check(self, accepted: Submission) -> list[Link]:
        """Check the accepted result against our own row where we sent it; nobody else has anything to compare."""
        network, epoch = self._network, accepted.report.epoch
        own = self._rows.pop(epoch, None)
        case = Case(
            network.terms, epoch, network.aggregate, network.context(epoch), accepted, own_row=own
        )
        links = check_case(case)
        return links if self._reports and own is not None else links[:1]

    async def close(self) -> None:
        """Nothing is held."""
