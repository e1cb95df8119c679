"""Signature chains: three statements that make a retrieval check what it claims to be.

The orchestrator signs the *task* that it gives to a station, the station signs the *request* that it makes of it, and the
storage provider signs its *answer*. Each statement binds the digest of the one before, so nothing can be taken from one
check and put into another; every digest binds domain (chain, contract), network and epoch.

A chain is packed into bytes of one length, which stand in the job's record as lower-case hex. What the record says itself
(content, provider, result, size, checksum) is not repeated: it is hashed into the statements, so a record that says
anything else than what was signed does not fit its own chain.
"""

import enum
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain, StructType, digest, keccak
from meridian.primitives.ids import Address
from meridian.primitives.keys import SIGNATURE_BYTES, PrivateKey, signed_by

VERSION: Final = 1

TASK: Final = StructType(
    "SparkTask",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("taskId", "bytes32"),
        ("stationId", "bytes32"),
        ("station", "address"),
        ("cid", "bytes32"),
        ("minerId", "bytes32"),
        ("notBefore", "uint64"),
        ("expires", "uint64"),
    ),
)
REQUEST: Final = StructType(
    "SparkRequest",
    (("network", "bytes32"), ("epoch", "uint64"), ("task", "bytes32"), ("startedAt", "uint64")),
)
ANSWER: Final = StructType(
    "SparkAnswer",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("request", "bytes32"),
        ("result", "bytes32"),
        ("byteLength", "uint64"),
        ("checksum", "bytes32"),
        ("endedAt", "uint64"),
    ),
)


class Fault(enum.StrEnum):
    """Why a chain is refused, in the order in which it is looked at."""

    MALFORMED = "malformed"
    ANOTHER_EPOCH = "another_epoch"
    FORGED_TASK = "forged_task"
    FORGED_REQUEST = "forged_request"
    UNKNOWN_PROVIDER = "unknown_provider"
    FORGED_ANSWER = "forged_answer"
    SPLICED = "spliced"
    OUT_OF_TIME = "out_of_time"
    SELF_DEALT = "self_dealt"
    NOT_RECORDED = "not_recorded"
    CONTRADICTS_RECORD = "contradicts_record"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain is valid."""

    domain: Domain
    network: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Check:
    """What a job's record says about a retrieval check."""

    station_id: str
    cid: str
    miner_id: str
    result: str
    byte_length: int
    checksum: str


@dataclass(frozen=True, slots=True)
class SignatureChain:
    """A chain; times are Unix milliseconds. The digests are what was signed, whatever the record says."""

    epoch: int
    task_id: bytes
    station: Address
    not_before: int
    expires: int
    task: bytes
    task_signature: bytes
    started_at: int
    request: bytes
    request_signature: bytes
    ended_at: int
    answer: bytes
    answer_signature: bytes

    def encode(self) -> bytes:
        """Return the packed bytes.

        Raises:
            InvalidInput: If a field does not fit.
        """
        out = Writer().u16(VERSION).u64(self.epoch).fixed(self.task_id, 32).fixed(self.station, 20)
        out.u64(self.not_before).u64(self.expires).fixed(self.task, 32)
        out.fixed(self.task_signature, SIGNATURE_BYTES).u64(self.started_at).fixed(self.request, 32)
        out.fixed(self.request_signature, SIGNATURE_BYTES).u64(self.ended_at).fixed(self.answer, 32)
        return out.fixed(self.answer_signature, SIGNATURE_BYTES).bytes()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read packed bytes.

        Raises:
            InvalidInput: If they are not one chain of this version.
        """
        reader = Reader(data)
        if (version := reader.u16()) != VERSION:
            raise InvalidInput("version", f"{version} is not {VERSION}")
        epoch, task_id, station = reader.u64(), reader.fixed(32), Address(reader.fixed(20))
        not_before, expires, task = reader.u64(), reader.u64(), reader.fixed(32)
        task_signature, started_at, request = reader.fixed(64), reader.u64(), reader.fixed(32)
        request_signature, ended_at, answer = reader.fixed(64), reader.u64(), reader.fixed(32)
        chain = cls(
            epoch, task_id, station, not_before, expires, task, task_signature, started_at, request,
            request_signature, ended_at, answer, reader.fixed(64),
        )  # fmt: skip
        reader.finish()
        return chain


def _text(value: str) -> bytes:
    return keccak(value.encode())


def _task(place: Place, chain: SignatureChain, check: Check) -> bytes:
    values = (
        place.network, place.epoch, chain.task_id, _text(check.station_id), chain.station,
        _text(check.cid), _text(check.miner_id), chain.not_before, chain.expires,
    )  # fmt: skip
    return digest(place.domain, TASK.hash(*values))


def _request(place: Place, task: bytes, started_at: int) -> bytes:
    return digest(place.domain, REQUEST.hash(place.network, place.epoch, task, started_at))


def _answer(place: Place, request: bytes, check: Check, ended_at: int) -> bytes:
    values = (
        place.network, place.epoch, request, _text(check.result), check.byte_length,
        _text(check.checksum), ended_at,
    )  # fmt: skip
    return digest(place.domain, ANSWER.hash(*values))


@dataclass(frozen=True, slots=True)
class Signers:
    """The three keys of a chain, for whoever makes one (a generator, a test, a station with its peers)."""

    orchestrator: PrivateKey
    station: PrivateKey
    provider: PrivateKey


def make_chain(
    place: Place,
    check: Check,
    signers: Signers,
    *,
    task_id: bytes,
    valid: tuple[int, int],
    times: tuple[int, int],
) -> SignatureChain:
    """Return the chain of a check, signed by all three.

    In a real network each party makes its own statement: the orchestrator up to `task`, the station up to `request`, the
    provider the rest.

    Args:
        place: Chain, contract, network and epoch.
        check: What the job's record will say.
        signers: The keys.
        task_id: The orchestrator's own name of the task, 32 bytes, never used twice.
        valid: From when on and until when the task may be done, milliseconds.
        times: Start and end of the check, milliseconds.
    """
    empty = bytes(SIGNATURE_BYTES)
    draft = SignatureChain(
        place.epoch, task_id, signers.station.address, *valid, bytes(32), empty, times[0],
        bytes(32), empty, times[1], bytes(32), empty,
    )  # fmt: skip
    task = _task(place, draft, check)
    request = _request(place, task, times[0])
    answer = _answer(place, request, check, times[1])
    return SignatureChain(
        place.epoch, task_id, signers.station.address, *valid,
        task, signers.orchestrator.sign(task), times[0],
        request, signers.station.sign(request), times[1],
        answer, signers.provider.sign(answer),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provider:
    """A storage provider as the network knows it."""

    key: Address
    operator: Address
    """Who runs it: a station that is paid to the same account deals with itself."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a chain is checked against, besides its record."""

    place: Place
    orchestrator: Address
    providers: dict[str, Provider]
    """By miner id."""
    tasks: dict[bytes, bytes]
    """The orchestrator's records: task id -> digest of the task that it signed."""


def fault_of(chain: SignatureChain, check: Check, payee: Address, known: Knowledge) -> Fault | None:
    """Return why a chain does not show that its check was made, or None.

    A signature that fits its own digest while the digest is not that of this record is *spliced*: true words about
    something else. One that does not even fit its own digest is *forged*.
    """
    place = known.place
    if chain.epoch != place.epoch:
        return Fault.ANOTHER_EPOCH
    if not signed_by(chain.task, chain.task_signature, known.orchestrator):
        return Fault.FORGED_TASK
    if not signed_by(chain.request, chain.request_signature, chain.station):
        return Fault.FORGED_REQUEST
    provider = known.providers.get(check.miner_id)
    if provider is None:
        return Fault.UNKNOWN_PROVIDER
    if not signed_by(chain.answer, chain.answer_signature, provider.key):
        return Fault.FORGED_ANSWER
    task = _task(place, chain, check)
    request = _request(place, task, chain.started_at)
    answer = _answer(place, request, check, chain.ended_at)
    if (chain.task, chain.request, chain.answer) != (task, request, answer):
        return Fault.SPLICED
    if not chain.not_before <= chain.started_at <= chain.ended_at <= chain.expires:
        return Fault.OUT_OF_TIME
    theirs = {provider.key, provider.operator}
    if {chain.station, payee} & (theirs | {known.orchestrator}):
        return Fault.SELF_DEALT
    if chain.task_id not in known.tasks:
        return Fault.NOT_RECORDED
    if known.tasks[chain.task_id] != task:
        return Fault.CONTRADICTS_RECORD
    return None


def parse(text: str) -> SignatureChain:
    """Read a chain from a record's field: lower-case hex of the packed bytes.

    Raises:
        InvalidInput: If it is none.
    """
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise InvalidInput("signature_chain", "is not hex") from error
    if data.hex() != text:
        raise InvalidInput("signature_chain", "is not lower-case hex without blanks")
    return SignatureChain.decode(data)
