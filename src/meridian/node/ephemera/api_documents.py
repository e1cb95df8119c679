"""What the API answers and takes besides blocks (`documents`); the schemas of its description follow from these types."""

from meridian.node.ephemera.documents import (
    BlockDocument,
    CertificateDocument,
    Document,
    HeaderDocument,
    MemberSetDocument,
    Number,
)


class Fault(Document, frozen=True, kw_only=True):
    """Which value is wrong, and why."""

    field: str
    reason: str


class ErrorDocument(Document, frozen=True, kw_only=True):
    """What every refused request is answered."""

    error: Fault


class HealthDocument(Document, frozen=True, kw_only=True):
    """Whether the node can do its part."""

    status: str
    reasons: tuple[str, ...]
    connected: int
    members: int
    quorum: int
    observer: bool
    membership_problem: str | None


class ConfigDocument(Document, frozen=True, kw_only=True):
    """Who the node is and how it takes part; no secret."""

    name: str
    version: str
    address: str
    local_peer_id: str
    public_key: str
    link_key: str
    protocol_address: str
    api_address: str
    websocket_address: str
    network: str
    chain_id: Number
    contract: str
    block_producer: bool
    block_creation_interval_ms: Number


class CertificatesDocument(Document, frozen=True, kw_only=True):
    """The certificate of a block with the header and the members that it is about."""

    header: HeaderDocument
    certificate: CertificateDocument
    member_set: MemberSetDocument


class BroadcastInfoDocument(Document, frozen=True, kw_only=True):
    """Who took part in making a block final."""

    local_address: str
    local_peer_id: str
    epoch: Number
    broadcast_group: tuple[str, ...]
    signers: tuple[str, ...]


class GroupMember(Document, frozen=True, kw_only=True):
    """One member of the present set."""

    address: str
    peer_id: str
    host: str
    port: int
    connected: bool


class GroupDocument(Document, frozen=True, kw_only=True):
    """The present member set."""

    local_address: str
    local_peer_id: str
    epoch: Number
    quorum: int
    current_members: tuple[GroupMember, ...]


class PageDocument(Document, frozen=True, kw_only=True):
    """Blocks in the order in which this node delivered them; go on with ``after`` = `next`, until a page is empty."""

    blocks: tuple[BlockDocument, ...]
    next: Number | None


class SubmittedDocument(Document, frozen=True, kw_only=True):
    """A message that waits for a block."""

    status: str
    message_hash: str


class VerifyRequest(Document, frozen=True, kw_only=True):
    """Does this message stand at this place in this block? Hashes are hex or base58."""

    block_hash: str
    message_hash: str
    message_index: int


class VerifiedDocument(Document, frozen=True, kw_only=True):
    """Whether it does."""

    verified: bool


class StoreRequest(Document, frozen=True, kw_only=True):
    """A write to the replicated store; hex, ``0x`` allowed."""

    key: str
    value: str


class StoredDocument(Document, frozen=True, kw_only=True):
    """A write that is durable here and on its way to all."""

    status: str


class EntryDocument(Document, frozen=True, kw_only=True):
    """The present value of a key, who wrote it, and its logical clock."""

    key: str
    value: str
    writer: str
    clock: Number
