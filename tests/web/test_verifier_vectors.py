"""The verifier that runs in the page, against outside vectors and word for word against the Python one.

What is asked is the very file that a site ships, `assets/verifier.js`, run by Node; nothing is built and no package of
npm is needed.
"""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.proof_files import ALL_FILES, consistency_file, inclusion_file, others
from meridian import verifier
from meridian.measure.proof_form import encode_binary, encode_json
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.verifier import Malformed
from web.shipped_scripts import Ask, shipped_script

NOT_JSON = "it is neither binary nor JSON: "


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Asks many questions of one process of Node."""
    return shipped_script(tmp_path_factory.mktemp("verifier"), "verifier.js", "verifier_driver.mjs")


def expected(data: bytes, root: bytes | None = None) -> dict[str, Any]:
    """What the Python verifier says of a file."""
    try:
        proof = verifier.decode(data)
    except Malformed as error:
        reason = NOT_JSON if error.reason.startswith(NOT_JSON) else error.reason
        rule = f"field {error.field}" if error.field else "a proof file"
        return {"holds": False, "statement": "", "root": "", "steps": [["document", rule, reason, False]]}  # fmt: skip
    steps = verifier.check(proof, root)
    return {
        "holds": verifier.holds(steps),
        "statement": verifier.statement(proof),
        "root": verifier.root_of(proof).hex(),
        "steps": [[step.name, step.rule, step.value, step.ok] for step in steps],
    }


def compare(ask: Ask, files: list[bytes]) -> tuple[int, int]:
    """Compare verdicts and words; return how many files hold, and how many are no proof."""
    answers = ask([{"kind": "proof", "data": data.hex()} for data in files])
    valid = refused = 0
    for data, answer in zip(files, answers, strict=True):
        first = answer["steps"][0]
        if first[2].startswith(NOT_JSON):
            first[2] = NOT_JSON  # the two JSON readers have words of their own
        assert answer == expected(data), data
        valid += answer["holds"]
        refused += first[0] == "document"
    return valid, refused


# --- vectors ---------------------------------------------------------------------------------------


def decoded(text: str | None) -> str:
    return base64.b64decode(text or "").hex()


def question(folder: str, case: dict[str, Any]) -> dict[str, Any]:
    """A case of RFC 6962 as a question: a whole log is the subtree from 0 to its size."""
    path = [decoded(node) for node in case["proof"] or []]
    if folder.endswith("inclusion"):
        start, end = (case["start"], case["end"]) if "start" in case else (0, case["treeSize"])
        numbers, leaf = [case["leafIdx"], start, end], decoded(case["leafHash"])
        return {"kind": "includes", "numbers": [*map(str, numbers)], "leaf": leaf, "path": path,
                "root": decoded(case["root"])}  # fmt: skip
    heads = {"path": path, "old": decoded(case["root1"]), "root": decoded(case["root2"])}
    if folder == "consistency":
        return {"kind": "extends log", "numbers": [str(case["size1"]), str(case["size2"])], **heads}
    numbers = [case["start"], case["end"], case["size"]]
    return {"kind": "extends", "numbers": [*map(str, numbers)], **heads}


def test_the_518_cases_of_rfc_6962_are_all_answered_as_expected(ask: Ask, shared_dir: Path) -> None:
    cases = [
        (path.parts[path.parts.index("testdata") + 1], json.loads(path.read_text()))
        for path in sorted((shared_dir / "vectors/rfc6962/testdata").rglob("*.json"))
    ]
    answers = ask([question(folder, case) for folder, case in cases])
    wrong = [
        (folder, case["desc"])
        for (folder, case), holds in zip(cases, answers, strict=True)
        if holds == case["wantErr"]
    ]
    assert wrong == []
    assert len(answers) == 518


def test_every_kind_of_proof_in_both_forms_has_the_same_steps_in_the_same_words(ask: Ask) -> None:
    files = list(ALL_FILES.values())
    files += [inclusion_file(at, size) for size in range(1, 8) for at in range(size)]
    files += [consistency_file(old, size) for size in range(1, 8) for old in range(1, size + 1)]
    data = [form(file) for file in files for form in (encode_json, encode_binary)]
    assert compare(ask, data) == (len(data), 0)


def test_a_root_of_ones_own_is_compared(ask: Ask) -> None:
    data = encode_binary(ALL_FILES["job"])
    right = verifier.root_of(ALL_FILES["job"])
    asked = [
        {"kind": "proof", "data": data.hex(), "root": root.hex()} for root in (right, bytes(32))
    ]
    assert ask(asked) == [expected(data, right), expected(data, bytes(32))]


# --- mutated proofs --------------------------------------------------------------------------------


def flipped(data: bytes, chance: random.Random, share: float) -> Iterator[bytes]:
    """One bit of some bytes changed."""
    for at in range(len(data)):
        if chance.random() < share:
            yield data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def edited(data: bytes, chance: random.Random, number: int) -> Iterator[bytes]:
    """Pieces cut, doubled, or overwritten by others."""
    for _ in range(number):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 1, 2, 8, 64)))
        source = chance.randrange(len(data))
        piece = data[source : source + chance.choice((0, 0, 1, 2, 16))]
        yield data[:at] + piece + data[end:]


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 7, 1 << 63, (1 << 63) - 1, 10**30, 1.0, float("nan"), float("inf"), "", "0", "00", "7", "-1",
    "node-1", "it's", 'é\n\u200b\U0001f600 "', "\ud800", "a" * 64, "A" * 64, "0x" + "aa" * 20, "0x" + "AA" * 20, "9" * 40,
    str((1 << 128) - 1), str(1 << 128), "x" * 65536, "pair_u64", "u128", [], [[]], {}, {"row": ""}, ["00" * 56] * 64,
    ["00" * 56] * 65, ["00" * 32],
)  # fmt: skip


def reworded(data: bytes) -> Iterator[bytes]:
    """Values of a JSON form replaced by others, keys dropped, added and doubled."""
    document = json.loads(data)
    for key, value in document.items():
        rest = {name: one for name, one in document.items() if name != key}
        changed: list[dict[str, Any]] = [rest, rest | {key.replace("_id", "_key"): "ab" * 32}]
        changed += [document | {key: other} for other in VALUES]
        if isinstance(value, dict):
            changed += [
                document | {key: value | {name: other}} for name in value for other in VALUES[::5]
            ]
            changed += [document | {key: value | {"more": 1}}]
        yield from (json.dumps(one).encode() for one in changed)
    yield json.dumps(document | {"\U0001f600": 1, "\uffff": 1}).encode()
    yield b'{"kind": "node", ' + data.lstrip()[1:]
    yield json.dumps(document, ensure_ascii=False, indent=3).encode("utf-8-sig")
    yield json.dumps([document]).encode()
    yield b"[" * 600 + data


def test_changed_bytes_of_every_kind_have_the_same_verdict_and_words(ask: Ask) -> None:
    chance = random.Random(20261126)
    files = [encode_binary(file) for file in ALL_FILES.values()]
    data = [other for one in files for other in flipped(one, chance, 0.12)]
    data += [other for one in files for other in edited(one, chance, 25)]
    texts = [encode_json(file) for file in ALL_FILES.values()]
    data += [other for one in texts for other in edited(one, chance, 25)]
    valid, refused = compare(ask, data)
    assert 0 < valid < refused < len(data)


def test_changed_places_sizes_paths_and_leaves_have_the_same_verdict_and_words(ask: Ask) -> None:
    data = []
    for file in ALL_FILES.values():
        for other in others(file):
            try:
                verifier.unpack(encode_binary(other))
                data += [encode_binary(other), encode_json(other)]
            except Malformed:  # what cannot be written cannot be sent
                continue
    valid, refused = compare(ask, data)
    assert 0 < valid < len(data)
    assert refused == 0


def test_changed_json_is_refused_for_the_same_reason(ask: Ask) -> None:
    names = (
        "job",
        "absent job before the first",
        "absent node between by key",
        "claim",
        "log consistency",
    )
    files = [file for name, file in ALL_FILES.items() if name in names]
    data = [other for file in files for other in reworded(encode_json(file))]
    _, refused = compare(ask, data)
    assert refused > len(data) / 2


# --- receipts --------------------------------------------------------------------------------------

KEY = PrivateKey(bytes(31) + b"\x07")
DOMAIN = Domain(31337, Address(b"\xc0" * 20))
RECEIPT = Receipt(network_id("saturn"), 9, KEY.address, 4, bytes(range(32)), 1_682_902_377_620_000)
SIGNED = SignedReceipt.sign(RECEIPT, DOMAIN, KEY)


def receipts() -> Iterator[SignedReceipt]:
    """The signed one; one with each word, and one with each byte of the signature, changed; those of other keys."""
    yield SIGNED
    for change in (
        {"network": bytes(32)},
        {"deadline_epoch": 10},
        {"sequence": (1 << 64) - 1},
        {"batch_root": bytes(32)},
        {"received_at_us": 0},
        {"aggregator": Address(bytes(20))},
    ):
        yield replace(SIGNED, receipt=replace(RECEIPT, **change))
    yield replace(SIGNED, domain=Domain(1, DOMAIN.contract))
    yield replace(SIGNED, domain=Domain(31337, Address(bytes(20))))
    for at in range(64):
        other = bytearray(SIGNED.signature)
        other[at] ^= 1 << at % 8
        yield replace(SIGNED, signature=bytes(other))
    for at in range(1, 20):
        key = PrivateKey(at.to_bytes(32, "big"))
        receipt = replace(RECEIPT, aggregator=key.address, sequence=at)
        yield SignedReceipt.sign(receipt, DOMAIN, key)
    yield replace(SIGNED, signature=bytes(64))
    yield replace(SIGNED, signature=b"\xff" * 64)


def test_receipts_have_the_verdict_and_the_digest_of_the_library(ask: Ask) -> None:
    signed = list(receipts())
    asked = [
        {"kind": "receipt", "data": json.dumps(one.document()).encode().hex()} for one in signed
    ]
    answers = ask(asked)
    for one, answer in zip(signed, answers, strict=True):
        assert answer["holds"] == one.holds, one
        digest = next(value for name, _, value, _ in answer["steps"] if name == "digest")
        assert digest == one.receipt.digest(one.domain).hex()
    assert sum(answer["holds"] for answer in answers) == 20
    whole = {"batch": "ab" * 32, "accepted": 3, "receipt": SIGNED.document()}
    forms = (
        (whole, True),
        (SIGNED.document() | {"more": 1}, False),
        (SIGNED.document() | {"sequence": 1 << 64}, False),
        (SIGNED.document() | {"signature": "ab"}, False),
        ({"receipt": None}, False),
    )
    asked = [{"kind": "receipt", "data": json.dumps(form).encode().hex()} for form, _ in forms]
    assert [one["holds"] for one in ask(asked)] == [holds for _, holds in forms]
