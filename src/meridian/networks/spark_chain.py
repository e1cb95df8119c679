"""The `spark-chain` network: retrieval checks whose three parties have signed them.

Two kinds of NDJSON lines are read: records in the seed's data model with the field ``signature_chain``, and for each epoch
one line of what the orchestrator knows:

    {"epoch_starts_at": 1690000000, "signature_domain": {"chain_id": 314, "contract": "0x…", "network": "hex"},
     "orchestrator_tasks": {"task id, hex": "digest, hex"}, "storage_providers": {"f01000": {"key": "0x…", "operator": "0x…"}}}

The first of them is the network's genesis.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput
from meridian.evaluate.functions.spark_chain import (
    BYTE_LENGTH,
    CHAIN,
    CHECKSUM,
    CID,
    DOMAIN,
    MINER,
    PROVIDERS,
    RESULT,
    SUCCESS,
    TASKS,
    knowledge,
)
from meridian.evaluate.spark.signature_chain import (
    Check,
    Place,
    SignatureChain,
    Signers,
    make_chain,
)
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.times import parse_time
from meridian.networks.definition import BATCH_RECORDS, JobSource, NetworkDefinition
from meridian.networks.files import lines_of
from meridian.networks.generator import Draws, Traffic
from meridian.networks.lines import TimeTexts, batches_of, json_integer, json_text, record_template
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, network_id, parse_address, parse_digest
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import LaneKind

NAME: Final = "spark-chain"
EPOCH_SECONDS: Final = 1_200
FIRST_EPOCH: Final = 1
GENESIS_S: Final = 1_721_640_000
BYTES_MAX: Final = 1 << 40
UNPLACED_MAX: Final = BATCH_RECORDS - 1
"""Lines without a place in time; fewer than a batch, so that each batch ends with a record that has one."""

SCHEMA: Final = NetworkSchema(
    id=6,
    name=NAME,
    evaluation_fields=(
        Field.string(CID, 128, nullable=True),
        Field.string(MINER, 64, nullable=True),
        Field.string(RESULT, 64),
        Field.integer(BYTE_LENGTH, maximum=BYTES_MAX, nullable=True),
        Field.string(CHECKSUM, 128, nullable=True),
        Field.string(CHAIN, 1024, nullable=True),
    ),
    additional_fields=(),
    lanes=Lanes(LaneKind.PAIR_U64, (BYTE_LENGTH,)),
)
_TEMPLATE: Final = record_template(SCHEMA)


def _key(seed: int, role: str) -> PrivateKey:
    return PrivateKey(digest_of(f"{seed}/{role}".encode()))


DEMO_ORCHESTRATOR: Final = _key(1, "orchestrator").address
"""Of generated checks with seed 1. A real network names its own: ``--function-parameters``."""

DEFINITION: Final = NetworkDefinition(
    name=NAME,
    schema=SCHEMA,
    function="spark-chain",
    function_parameters={"orchestrator": address_text(DEMO_ORCHESTRATOR)},
    description="SPARK with signature chains: checks count when all three parties have signed them",
)


class _RecordHead(msgspec.Struct):
    """What is needed of a record."""

    peer_id: str
    ended_at: str


_RECORD_HEAD: Final = msgspec.json.Decoder(_RecordHead)


def _inputs(value: dict[str, Any]) -> tuple[int, dict[str, bytes]]:
    """Read a line of what the orchestrator knows; return when its epoch starts, and the input artefacts.

    Raises:
        InvalidInput: If it is malformed.
    """
    try:
        start = value["epoch_starts_at"]
        domain = value["signature_domain"]
        contract = parse_address(domain["contract"], "signature_domain.contract")
        network = parse_digest(domain["network"], "signature_domain.network")
        where = {"chain_id": domain["chain_id"], "contract": contract, "network": network}
        tasks = [
            [parse_digest(task, "orchestrator_tasks"), parse_digest(digest, "orchestrator_tasks")]
            for task, digest in sorted(value["orchestrator_tasks"].items())
        ]
        providers = {
            miner: [parse_address(one[name], "storage_providers") for name in ("key", "operator")]
            for miner, one in value["storage_providers"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("inputs", f"a line lacks or misuses {error}") from error
    if type(start) is not int or not 0 <= start < 1 << 40:
        raise InvalidInput("epoch_starts_at", f"{start!r} is not in Unix seconds")
    named = {DOMAIN: where, TASKS: tasks, PROVIDERS: providers}
    inputs = {name: dagcbor.encode(item) for name, item in named.items()}
    knowledge(
        inputs, FIRST_EPOCH, DEMO_ORCHESTRATOR
    )  # what the function would refuse is refused now
    return start, inputs


def source_of(
    lines: Iterable[tuple[str, bytes]], *, epoch_seconds: int = EPOCH_SECONDS
) -> JobSource:
    """Return the jobs and inputs that lines hold.

    Args:
        lines: Where each stands (for messages), and its bytes.
        epoch_seconds: Length of an epoch.

    Raises:
        InvalidInput: If there are no records or inputs, or records of an epoch that has no inputs.
    """
    if epoch_seconds < 1:
        raise InvalidInput("epoch_seconds", f"{epoch_seconds} is not a length")
    placed, unplaced = list[tuple[int, str, str]](), list[str]()
    starts: dict[int, dict[str, bytes]] = {}
    for where, data in lines:
        text = data.decode(errors="replace").rstrip("\n")
        if b'"epoch_starts_at"' in data:
            try:
                start, inputs = _inputs(msgspec.json.decode(data))
            except (msgspec.DecodeError, InvalidInput) as error:
                raise InvalidInput(where, str(error)) from error
            starts[start] = inputs
            continue
        try:
            head = _RECORD_HEAD.decode(data)
            placed.append((parse_time(head.ended_at), head.peer_id, text))
        except (msgspec.DecodeError, InvalidInput, ValueError):
            unplaced.append(text)
            if len(unplaced) > UNPLACED_MAX:
                raise InvalidInput(
                    where, f"more than {UNPLACED_MAX} lines are no records"
                ) from None
    if not placed or not starts:
        raise InvalidInput("paths", "the files hold no record, or no line with epoch_starts_at")
    placed.sort(key=lambda one: one[0])
    genesis_s = min(starts)
    by_epoch = {
        FIRST_EPOCH + (start - genesis_s) // epoch_seconds: starts[start] for start in starts
    }
    for ended_us, _, _ in placed:
        epoch = FIRST_EPOCH + (ended_us // 1_000_000 - genesis_s) // epoch_seconds
        if epoch not in by_epoch:
            raise InvalidInput("epoch_starts_at", f"no line is of epoch {epoch}, which has records")
    records = [*unplaced, *(text for _, _, text in placed)]
    return JobSource(
        definition=DEFINITION,
        genesis_s=genesis_s,
        epoch_seconds=epoch_seconds,
        first_epoch=FIRST_EPOCH,
        n_epochs=max(by_epoch) - FIRST_EPOCH + 1,
        nodes=dict.fromkeys(sorted({station for _, station, _ in placed})),
        jobs=len(records),
        batches=lambda: batches_of(records),
        inputs=by_epoch,
    )


def load(paths: Sequence[Path], *, epoch_seconds: int = EPOCH_SECONDS) -> JobSource:
    """Load NDJSON files of records and of what the orchestrator knows.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: As `source_of`.
    """
    lines = ((f"{path} line {number}", data) for path in paths for number, data in lines_of(path))
    return source_of(lines, epoch_seconds=epoch_seconds)


def generate(traffic: Traffic) -> JobSource:
    """Make up checks with real signatures, some of them failed and some of them forged in every way that is refused."""
    lines = enumerate(_generated(traffic), 1)
    source = source_of((f"generated line {number}", line) for number, line in lines)
    orchestrator = address_text(_key(traffic.seed, "orchestrator").address)
    definition = replace(DEFINITION, function_parameters={"orchestrator": orchestrator})
    return replace(source, definition=definition)


def _generated(traffic: Traffic) -> Iterator[bytes]:
    draws, seed = Draws(traffic.seed), traffic.seed
    contract = Address(digest_of(b"contract of generated checks")[:20])
    domain, network = Domain(31337, contract), network_id(NAME)
    providers = [_key(seed, f"provider/{number}") for number in range(min(20, traffic.nodes))]
    stations = [_key(seed, f"station/{number}") for number in range(traffic.nodes)]
    operators = {f"f0{1000 + at}": key.address for at, key in enumerate(providers)}
    orchestrator = _key(seed, "orchestrator")
    for index in range(traffic.epochs):
        count = traffic.jobs // traffic.epochs + (index < traffic.jobs % traffic.epochs)
        place = Place(domain, network, FIRST_EPOCH + index)
        start_ms = (GENESIS_S + index * EPOCH_SECONDS) * 1_000
        fates = draws.below(f"{index}/fate", count, 40).tolist()
        recorded, records, text = dict[str, str](), list[bytes](), TimeTexts()
        latest: dict[int, SignatureChain] = {}
        for number in range(count):
            at, of = number % traffic.nodes, number % len(providers)
            ended_ms = start_ms + number * EPOCH_SECONDS * 1_000 // count
            check = Check(
                _station_id(seed, at), cid_text(digest_of(f"{index}/{number}".encode())),
                f"f0{1000 + of}", SUCCESS, 1_000 + number, digest_of(b"car").hex(),
            )  # fmt: skip
            task_id = digest_of(f"{seed}/{index}/task/{number}".encode())
            times = max(start_ms, ended_ms - 500), ended_ms
            chain = make_chain(
                place, check, Signers(orchestrator, stations[at], providers[of]), task_id=task_id,
                valid=(start_ms, start_ms + EPOCH_SECONDS * 1_000), times=times,
            )  # fmt: skip
            fate = fates[number]
            if fate != 5:  # a task that the orchestrator never gave out
                recorded[task_id.hex()] = chain.task.hex()
            result, sent = _spoilt(fate, chain, latest.get(of), stations[at])
            latest[of] = chain
            values = (
                json_text(f"{index}-{number}"), json_text(check.station_id),
                text(times[0] * 1_000), text(times[1] * 1_000), json_text(check.cid),
                json_text(check.miner_id), json_text(result), json_integer(check.byte_length),
                json_text(check.checksum), json_text(sent),
            )  # fmt: skip
            records.append((_TEMPLATE % values).encode())
        yield msgspec.json.encode(
            {
                "epoch_starts_at": start_ms // 1_000,
                "signature_domain": {
                    "chain_id": domain.chain_id,
                    "contract": address_text(contract),
                    "network": network.hex(),
                },
                "orchestrator_tasks": recorded,
                "storage_providers": {
                    miner: {"key": address_text(key), "operator": address_text(key)}
                    for miner, key in operators.items()
                },
            }
        )
        yield from records


def _station_id(seed: int, number: int) -> str:
    return (digest_of(f"{seed}/station-id/{number}".encode()).hex() * 2)[:88]


def _spoilt(
    fate: int, chain: SignatureChain, previous: SignatureChain | None, station: PrivateKey
) -> tuple[str, str | None]:
    """Return a job's result and chain by its fate; most stay as they are."""
    packed = chain.encode().hex()
    match fate:
        case 0:
            return "TIMEOUT", packed
        case 1:
            return SUCCESS, None
        case 2:  # signed by the station in the provider's place
            forged = replace(chain, answer_signature=station.sign(chain.answer))
            return SUCCESS, forged.encode().hex()
        case 3 if previous is not None:  # of another check by the same provider
            return SUCCESS, previous.encode().hex()
        case 4:
            return SUCCESS, packed[:-2]
    return SUCCESS, packed
