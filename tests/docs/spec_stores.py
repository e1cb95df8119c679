"""The examples of page 14: a stream's entry, a table's statement, and an epoch of the model `offchain-store`."""

from spec_layout import Cbor, Example, Values

from meridian.models.offchain_statements import (
    Located,
    OutcomeArtefact,
    StoreResult,
    locations_chain,
)
from meridian.node.stores.signed_chain import sign_entry
from meridian.node.stores.sql import TableName, sign_statement
from meridian.node.stores.stream import stream_name
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.reward.claims import ClaimsState

KEY = PrivateKey((1).to_bytes(32, "big"))
LOCATED = (
    Located(node_key("node-a"), digest_of(b"jobs of a"), 3),
    Located(node_key("node-b"), digest_of(b"jobs of b"), 1),
)
OUTCOME = OutcomeArtefact(2, {node_key("node-a"): 3}, {node_key("node-b"): "unavailable"})
DOMAIN = Domain(31337, Address(b"\x14" * 20))


def stores() -> dict[str, Example]:
    name, table = stream_name(KEY.address, "jobs"), TableName(KEY.address, "jobs")
    first = sign_entry(name, KEY, None, digest_of(b"first"))
    second = sign_entry(name, KEY, first, digest_of(b"second"))
    statement = sign_statement(table, KEY, 0, "put", digest_of(b"first"))
    claims = ClaimsState.empty().advance({node_key("node-a"): (KEY.address, 1_000)})
    result = StoreResult(
        2,
        locations_chain(LOCATED),
        OUTCOME.digest,
        digest_of(b"function"),
        digest_of(b"parameters"),
        claims.reward_root,
        claims.total,
    )
    return {
        "stream-entry": Cbor(second.encode()),
        "table-statement": Values(
            {
                "owner": address_text(KEY.address),
                "table": table.id,
                "sequence": statement.sequence,
                "kind": statement.kind,
                "object": statement.object,
                "signature": statement.signature,
            }
        ),
        "locations": Values(
            {
                "node-a, object": LOCATED[0].object,
                "node-b, object": LOCATED[1].object,
                "chain": locations_chain(LOCATED),
            }
        ),
        "outcome": Cbor(OUTCOME.encode()),
        "store-result": Values(
            {
                "reward root": result.reward_root,
                "total": result.total,
                "signed": result.digest(DOMAIN, network_id("example")),
            }
        ),
    }
