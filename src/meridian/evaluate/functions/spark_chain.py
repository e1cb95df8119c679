"""`spark-chain`: a retrieval check counts when it succeeded and its signature chain is valid.

The design document's own rule for SPARK, which the live system never had. The chain is `spark.signature_chain`; the same
task counts once, for the first of its jobs in the order of node keys and job keys, and then is *replayed*.

Parameter ``orchestrator``: the account that signs tasks. Inputs, DAG-CBOR: ``signature-domain`` = {chain_id, contract,
network}, ``orchestrator-tasks`` = list of [task id, digest] that the orchestrator gave out, ``storage-providers`` = map of
miner id to [key, operator].
"""

from collections.abc import Mapping
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.function import (
    EpochInput,
    Evaluation,
    EvaluationFunction,
    Parameters,
    bundle_of,
    refuse_unknown,
)
from meridian.evaluate.jobs import NODE
from meridian.evaluate.judging import evaluation
from meridian.evaluate.spark.signature_chain import (
    Check,
    Fault,
    Knowledge,
    Place,
    Provider,
    SignatureChain,
    fault_of,
    parse,
)
from meridian.primitives import dagcbor
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, job_key, parse_address

NAME: Final = "spark-chain"
VERSION: Final = 1
DOMAIN: Final = "signature-domain"
TASKS: Final = "orchestrator-tasks"
PROVIDERS: Final = "storage-providers"
SUCCESS: Final = "OK"
ENTRIES_MAX: Final = 10_000_000

CID: Final = "cid"
MINER: Final = "miner_id"
RESULT: Final = "retrieval_result"
BYTE_LENGTH: Final = "byte_length"
CHECKSUM: Final = "car_checksum"
CHAIN: Final = "signature_chain"
FIELDS: Final = (CID, MINER, RESULT, BYTE_LENGTH, CHECKSUM, CHAIN)

REASONS: Final = ("ok", "unsuccessful", "no_chain", *(fault.value for fault in Fault), "replayed")
_CODE: Final = {reason: code for code, reason in enumerate(REASONS)}


def _check(parameters: Parameters) -> Address:
    refuse_unknown(parameters, frozenset({"orchestrator"}))
    text = parameters.get("orchestrator")
    if not isinstance(text, str):
        raise InvalidInput("orchestrator", "is not the address of who signs tasks")
    return parse_address(text, "orchestrator")


def knowledge(inputs: Mapping[str, bytes], epoch: int, orchestrator: Address) -> Knowledge:
    """Read the input artefacts.

    Raises:
        InvalidInput: If one is missing or malformed.
    """
    for name in (DOMAIN, TASKS, PROVIDERS):
        if name not in inputs:
            raise InvalidInput(name, "the epoch has no such input")
    domain, tasks, providers = (dagcbor.decode(inputs[name]) for name in (DOMAIN, TASKS, PROVIDERS))
    try:
        where = Domain(int(domain["chain_id"]), Address(_bytes(domain["contract"], 20)))
        place = Place(where, _bytes(domain["network"], 32), epoch)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(DOMAIN, f"lacks or misuses {error}") from error
    try:
        recorded = {_bytes(task, 32): _bytes(digest, 32) for task, digest in _short(tasks, list)}
    except (TypeError, ValueError) as error:
        raise InvalidInput(TASKS, f"is not a list of [task id, digest]: {error}") from error
    try:
        known = {
            miner: Provider(Address(_bytes(key, 20)), Address(_bytes(operator, 20)))
            for miner, (key, operator) in _short(providers, dict).items()
        }
    except (TypeError, ValueError) as error:
        raise InvalidInput(PROVIDERS, f"is not a map to [key, operator]: {error}") from error
    return Knowledge(place, orchestrator, known, recorded)


def _bytes(value: Any, width: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != width:
        raise TypeError(f"{width} bytes")
    return value


def _short(value: Any, kind: type) -> Any:
    if not isinstance(value, list | dict) or type(value) is not kind or len(value) > ENTRIES_MAX:
        raise TypeError(f"at most {ENTRIES_MAX} entries")
    return value


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:  # noqa: ARG001 - one is enough
    """Check every job's chain and count each station's good ones.

    Raises:
        InvalidInput: If the parameters or inputs are malformed, or a field is missing.
    """
    orchestrator, nodes = _check(parameters), len(epoch.node_ids)
    for name in FIELDS:
        if name not in epoch.jobs.column_names:
            raise InvalidInput("jobs", f"have no field {name!r}")
    if not epoch.jobs.num_rows:
        return evaluation([None] * nodes, b"", REASONS, {})
    known = knowledge(epoch.inputs, epoch.epoch, orchestrator)
    columns = [epoch.jobs.column(name).to_pylist() for name in (NODE, "job_id", *FIELDS)]
    codes = bytearray(epoch.jobs.num_rows)
    first: dict[bytes, tuple[int, bytes, int]] = {}
    for row, (node, job, *fields) in enumerate(zip(*columns, strict=True)):
        reason, chain = _judged(fields, epoch.node_ids[node], epoch.payees[node], known)
        codes[row] = _CODE[reason]
        if chain is None:
            continue
        # Whatever the order of the rows, the same job of several with one task is the first.
        here = node, job_key(job), row
        there = first.setdefault(chain.task_id, here)
        codes[max(here, there)[2]] = _CODE["ok" if here == there else "replayed"]
        first[chain.task_id] = min(here, there)
    weights: list[int | None] = [None] * nodes
    for node, code in zip(columns[0], codes, strict=True):
        weights[node] = (weights[node] or 0) + (code == 0)
    return evaluation(weights, bytes(codes), REASONS, {})


def _judged(
    fields: list[Any], station_id: str, payee: Address, known: Knowledge
) -> tuple[str, SignatureChain | None]:
    """Return a job's reason, and its chain where it is valid."""
    cid, miner, result, byte_length, checksum, text = fields
    if result != SUCCESS:
        return "unsuccessful", None
    if text is None:
        return "no_chain", None
    if cid is None or miner is None or byte_length is None or byte_length < 0:
        return Fault.MALFORMED, None
    try:
        chain = parse(text)
    except InvalidInput:
        return Fault.MALFORMED, None
    check = Check(station_id, cid, miner, result, byte_length, checksum or "")
    fault = fault_of(chain, check, payee, known)
    return ("ok", chain) if fault is None else (fault.value, None)


FUNCTION: Final = EvaluationFunction(
    NAME,
    VERSION,
    bundle_of(NAME, VERSION, "spark/signature_chain.py"),
    evaluate,
    _check,
)
