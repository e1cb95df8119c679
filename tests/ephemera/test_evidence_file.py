"""An evidence file needs nothing beside it, and nobody can be framed by one."""

from dataclasses import replace

import pytest
from cluster import DOMAIN, Cluster, Voice, context

from meridian.ephemera import evidence
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.evidence import Guilt
from meridian.ephemera.evidence_file import (
    EVIDENCE_FILE_BYTES_MAX,
    EvidenceFile,
    verify_evidence_file,
)
from meridian.ephemera.limits import MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address

VOICE = Voice(4)
A, B = b"\x0a" * 32, b"\x0b" * 32


def proof() -> bytes:
    first, second = ((d, VOICE.sign(1, Kind.ECHO, 2, d)) for d in (A, B))
    return evidence.double(VOICE.context, 1, Kind.ECHO, 2, first, second)


def test_a_file_says_where_who_and_what() -> None:
    data = EvidenceFile(VOICE.context, proof()).encode()
    assert verify_evidence_file(data) == (VOICE.context, Guilt(1, "double_echo"))
    assert EvidenceFile.decode(data) == EvidenceFile(VOICE.context, proof())


def test_any_changed_byte_proves_nothing() -> None:
    """Chain, contract, network, epoch, members, evidence: all of it is under the signatures."""
    data = EvidenceFile(VOICE.context, proof()).encode()
    for at in range(len(data)):
        for bit in (0x01, 0x80):
            changed = data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]
            with pytest.raises(InvalidInput):
                verify_evidence_file(changed)
    for cut in (data[:-1], data + b"\x00", b"", bytes(EVIDENCE_FILE_BYTES_MAX + 1)):
        with pytest.raises(InvalidInput):
            verify_evidence_file(cut)


def test_what_a_replica_reports_can_be_written_to_a_file_as_it_is() -> None:
    cluster = Cluster(4)
    cluster.open([0])
    for digest in (A, B):
        cluster.do(0, cluster.inject(1, 0, VOICE.vote(1, 0, digest)))
    [found] = cluster.effects(0, Misbehaviour)
    data = EvidenceFile(cluster.context, found.evidence).encode()
    assert verify_evidence_file(data) == (cluster.context, Guilt(found.member, found.kind))


def test_evidence_of_another_committee_proves_nothing() -> None:
    for other in (context(5), context(4, VOICE.context.epoch + 1)):
        with pytest.raises(InvalidInput, match="context"):
            verify_evidence_file(EvidenceFile(other, proof()).encode())


def test_the_largest_file_has_the_stated_size() -> None:
    members = tuple(Address(i.to_bytes(20, "big")) for i in range(MEMBERS_MAX))
    largest = EvidenceFile(Context(DOMAIN, bytes(32), 1, members), bytes(512)).encode()
    assert len(largest) == EVIDENCE_FILE_BYTES_MAX
    assert EvidenceFile.decode(largest).context.members == members


def test_a_domain_of_another_name_has_no_file() -> None:
    """The file does not carry the name; a reader would check the signatures under ours."""
    foreign = replace(VOICE.context, domain=replace(DOMAIN, name="Other"))
    with pytest.raises(InvalidInput, match="domain"):
        EvidenceFile(foreign, proof()).encode()
