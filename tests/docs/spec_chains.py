"""The example of page 12: one chain, made with keys that anybody can make again."""

from spec_layout import Example, layout

from meridian.evaluate.spark.signature_chain import Check, Place, Signers, make_chain
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

PLACE = Place(Domain(314, Address(b"\x12" * 20)), network_id("spark-chain"), 7)
CHECK = Check("station-1", "bafkqaaa", "f01000", "OK", 240, "1220ab")
SIGNERS = Signers(*(PrivateKey(number.to_bytes(32, "big")) for number in (1, 2, 3)))
CHAIN = make_chain(
    PLACE, CHECK, SIGNERS, task_id=b"\x07" * 32, valid=(1_000, 9_000), times=(2_000, 2_500)
)


def chains() -> dict[str, Example]:
    chain = CHAIN
    return {
        "chain": layout(
            chain.encode(),
            ("version", "u16", 1),
            ("epoch", "u64", chain.epoch),
            ("task_id", "bytes32", chain.task_id),
            ("station", "bytes20", chain.station),
            ("not_before", "u64", chain.not_before),
            ("expires", "u64", chain.expires),
            ("task", "bytes32", chain.task),
            ("task_signature", "bytes64", chain.task_signature),
            ("started_at", "u64", chain.started_at),
            ("request", "bytes32", chain.request),
            ("request_signature", "bytes64", chain.request_signature),
            ("ended_at", "u64", chain.ended_at),
            ("answer", "bytes32", chain.answer),
            ("answer_signature", "bytes64", chain.answer_signature),
        )
    }
