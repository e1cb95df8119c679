"""What the plays of frauds share: ten nodes with thirty jobs each, a call that should be refused, and how that ended.

The cheat is node 0.
"""

from collections.abc import Mapping
from typing import Any, Final

from meridian.evaluate.functions.count import FUNCTION
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.models.node_jobs import NodeJob
from meridian.models.plain_sums import shares
from meridian.node.chain.contract import Contract
from meridian.node.chain.fees import present_fees
from meridian.node.chain.receipts import read_receipt
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.signing import Call, sign_transaction
from meridian.primitives.amounts import ATTO
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

NODES: Final = 10
JOBS: Final = 30
EPOCH: Final = 1
EPOCH_SECONDS: Final = 3_600
GENESIS_S: Final = 1_682_899_200
FUNDS_ATTO: Final = 1_000 * ATTO
CHAIN_ID: Final = 31337
HONEST_ATTO: Final = shares([JOBS] * NODES, FUNDS_ATTO)[0]
"""What each node earns where all are honest."""
CHEAT: Final = "node-0"
VICTIM: Final = "node-1"
_GAS: Final = 20_000_000


def node_keys() -> dict[str, PrivateKey]:
    """Return the keys of the nodes."""
    return {f"node-{i}": PrivateKey(sha256(b"small world", bytes([i]))) for i in range(NODES)}


def job(node: int, number: int) -> NodeJob:
    """Return an honest job."""
    end = GENESIS_S + 60 * node + number
    return NodeJob(sha256(b"job", bytes([node, number])), end - 1, end, 1)


def honest_jobs() -> Mapping[str, list[NodeJob]]:
    """Return all honest jobs by node."""
    return {f"node-{i}": [job(i, number) for number in range(JOBS)] for i in range(NODES)}


def world_file(model: str, **more: Any) -> ModelFile:
    """Return the file of a small world's run; `more` is the model's own."""
    return ModelFile(
        model=model,
        network="fraud",
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=EPOCH,
        n_epochs=1,
        function_digest=FUNCTION.digest,
        parameters_digest=bytes(32),
        schema_digest=bytes(32),
        chain_id=CHAIN_ID,
        more=more,
    )


def attempt(
    client: ChainClient,
    chain_id: int,
    key: PrivateKey,
    contract: Contract,
    function: str,
    *arguments: object,
) -> str:
    """Send a call into a block whatever an estimate says of it; returns why it reverted, or an empty text."""
    account = address_text(key.address)
    tx_hash, raw = sign_transaction(
        key,
        Call(contract.address, contract.encode(function, *arguments)),
        chain_id=chain_id,
        nonce=int(client.call("eth_getTransactionCount", account, "latest"), 16),
        gas=_GAS,
        fees=present_fees(client)[0],
    )
    client.call("eth_sendRawTransaction", "0x" + raw.hex())
    receipt = client.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    return read_receipt(client, tx_hash, receipt).reason


def impossible(fraud: str, why: str) -> FraudOutcome:
    """Return the outcome of a fraud that nobody is in the place to commit."""
    return FraudOutcome(fraud=fraud, ending=Ending.IMPOSSIBLE, by="nobody", how=why)


def refused(fraud: str, gain_atto: int, reason: str, what: str) -> FraudOutcome:
    """Return the outcome of a call that should have reverted, when all is settled.

    Args:
        fraud: Its name.
        gain_atto: What the cheat got beyond its share.
        reason: Why the call reverted; empty if it did not.
        what: What was tried.
    """
    if not reason or gain_atto > 0:
        ending, by, how = Ending.UNNOTICED, "nobody", f"{what} was taken"
    else:
        ending, by, how = Ending.PREVENTED, "contract", f"{what} reverted: {reason}"
    return FraudOutcome(fraud=fraud, ending=ending, by=by, how=how, gain_atto=gain_atto)
