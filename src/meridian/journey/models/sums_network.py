"""Sending to a contract with `job_sums`: nodes their jobs, a keeper the calls that add them up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from meridian.errors import InvalidInput, RemoteFault
from meridian.journey.models.bulk import Bulk, Queue, SizedCall
from meridian.journey.models.node_jobs import NodeJob
from meridian.journey.models.sums_chain import SumsChain
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

JOBS_PER_CALL: Final = 256
"""Of a batch: some 12 million gas."""
JOBS_PER_SUM: Final = 1024
_SUMS_AT_ONCE: Final = 64
"""Calls of ``evaluate`` that are sent before the next look at what is left."""


def submit(
    chain: SumsChain,
    chain_id: int,
    epoch: int,
    jobs: Mapping[str, Sequence[NodeJob]],
    keys: Mapping[str, PrivateKey],
    nonces: Mapping[str, int],
    batch: int,
    progress: Callable[[int], None],
) -> None:
    """Send an epoch's jobs, each node's from its own key.

    Args:
        chain: The contract.
        chain_id: Of its chain.
        epoch: The open one.
        jobs: By node id.
        keys: Of the nodes.
        nonces: Of each node's first transaction in the epoch (0 where it is missing).
        batch: Jobs in one transaction; 0: each in its own, by ``submit``.
        progress: Called with the jobs that stand on chain.

    Raises:
        Reverted: If the contract refuses.
        NotMined: If they do not get into blocks.
        InvalidInput: If the nodes' keys have sent something else before, so that jobs are missing.
    """
    queues = [
        Queue(keys[node], nonces.get(node, 0), _submissions(chain, own, batch))
        for node, own in jobs.items()
    ]
    Bulk(chain.client, chain_id, chain.contract.address).send(queues, progress)
    wanted, found = sum(map(len, jobs.values())), chain.state(epoch).jobs
    if found < wanted:
        raise InvalidInput(
            "jobs",
            f"epoch {epoch} has {found} of {wanted} on the chain: its nodes' keys were used for other jobs",
        )


def _submissions(chain: SumsChain, jobs: Sequence[NodeJob], batch: int) -> list[SizedCall]:
    encode = chain.contract.encode
    if not batch:
        return [SizedCall(encode("submit", job.arguments), 1) for job in jobs]
    parts = [jobs[at : at + batch] for at in range(0, len(jobs), batch)]
    return [
        SizedCall(encode("submit_many", [job.arguments for job in part]), len(part))
        for part in parts
    ]


def batches(jobs: int, batch: int) -> int:
    """Return how many transactions a node's jobs take."""
    return -(-jobs // (batch or 1))


def evaluate(
    chain: SumsChain,
    chain_id: int,
    keeper: PrivateKey,
    epoch: int,
    progress: Callable[[int], None],
) -> None:
    """Have all jobs of a closed epoch added up; the keeper's key sends nothing else.

    Raises:
        RemoteFault: If it does not get on.
    """
    bulk = Bulk(chain.client, chain_id, chain.contract.address, keep_going=True)
    done = -1
    while True:
        state = chain.state(epoch)
        progress(state.evaluated)
        if state.evaluated == state.jobs:
            return
        if state.evaluated == done:
            raise RemoteFault(f"the evaluation of epoch {epoch} stops at {done} jobs")
        done = state.evaluated
        # A call whose gas did not suffice for many new nodes leaves its jobs to the next.
        left = range(done, state.jobs, JOBS_PER_SUM)[:_SUMS_AT_ONCE]
        sizes = [min(JOBS_PER_SUM, state.jobs - at) for at in left]
        calls = [SizedCall(chain.contract.encode("evaluate", epoch, n), n) for n in sizes]
        account = address_text(keeper.address)
        nonce = int(chain.client.call("eth_getTransactionCount", account, "latest"), 16)
        bulk.send([Queue(keeper, nonce, calls)], lambda _items: None)
