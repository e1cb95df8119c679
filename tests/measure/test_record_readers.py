"""The compiled reader against the one that reads record by record: the same rows, the same verdicts, whatever comes."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure_schemas import SATURN, SEED_SATURN, lines, saturn_record

from meridian.errors import InvalidInput
from meridian.measure import nesting, record, record_scan
from meridian.measure.batch_decode import Body, BodyKind, decode_batch, decode_many
from meridian.measure.explain import RECORD_BYTES_MAX, Explainer
from meridian.measure.record import Decoded, decode_json, decode_ndjson
from meridian.measure.schema import Field, NetworkSchema

WIDE = NetworkSchema(
    id=9,
    name="wide",
    evaluation_fields=(
        Field.integer("a", minimum=-(2**63)),
        Field.decimal("b", 18, minimum=-(2**63), required=False),
        Field.decimal("c", 0, nullable=True),
    ),
    additional_fields=tuple(Field.string(f"text {at} é", 40, required=False) for at in range(3)),
)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    assert record.prepare()


def both(body: bytes, schema: NetworkSchema, decode: Any = decode_ndjson) -> list[Any]:
    """What a decoder returns with the compiled reader and without it."""
    found: list[Any] = []
    for fast in (record_scan, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record, "_fast", fast)
            try:
                decoded = decode(body, schema)
            except InvalidInput as error:
                found.append(str(error))
            else:
                decoded.table.validate(full=True)
                positions = None if decoded.lines is None else list(decoded.lines)
                found.append((decoded.count, decoded.table, positions, decoded.rejections))
    return found


def usual_rows(body: bytes, schema: NetworkSchema = SATURN) -> int:
    """How many lines the compiled reader takes."""
    scan = record_scan.Scan.of_lines(body, record_scan.form(schema), 1_000)
    return int(scan.usual[: scan.count].sum())


names = st.text(max_size=12) | st.sampled_from(
    ["é" * 64, "x" * 128, "x" * 129, "\U0001f600", "a/b"]
)
instants = st.sampled_from(
    [
        "2023-05-01 00:52:57.62+00",
        "2024-02-29T23:59:59.999999Z",
        "2023-05-01t00:52:57z",
        "2023-04-30 22:22:57-0230",
        "2023-05-01T03:52:57.1+03:00",
        "2023-02-29 00:00:00Z",
        "1970-01-01 00:00:00Z",
        "1971-01-01 00:00:00+23:59",
        "9999-12-31T23:59:59.999999Z",
        "2023-05-01 00:52:57.1234567Z",
        "2023-05-01 24:00:00Z",
        "2023-05-01 00:52:57",
        "x",
    ]
) | st.text(alphabet="0123456789-:+. TtZz", max_size=33)
numbers = (
    st.integers(-(2**65), 2**65).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=9).map(str)
    | st.sampled_from(
        ["0", "-0", "01", "1.", ".5", "1e3", "-", "1.50", "0.000000001", "null", "true"]
    )
    | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,19})?", fullmatch=True)
)
others = st.sampled_from(
    ["true", "false", "null", '"x"', '"\\u00e9"', '"é"', "[]", "{}", "tru", '"']
)
spellings = st.sampled_from(["int", "in", "integer", "decimal", "boolean", "string", "Int"])


@st.composite
def records_of(draw: st.DrawFn, schema: NetworkSchema) -> str:
    """The text of a record that is nearly one of the schema's."""
    space = draw(st.sampled_from(["", "", " ", "\t ", "\r"]))

    def entries(fields: tuple[Field, ...]) -> str:
        chosen = [item for item in fields if item.required or draw(st.booleans())]
        if draw(st.integers(0, 7)) == 0:
            chosen = draw(st.permutations(chosen))[: draw(st.integers(0, 4))]
        return f"{space},{space}".join(
            f'{{{space}"name":{space}{json.dumps(item.name, ensure_ascii=False)},"type"{space}:'
            f'"{draw(st.sampled_from(item.kind.spellings) if draw(st.integers(0, 9)) else spellings)}"'
            f',{space}"value":{draw(numbers if item.max_bytes == 0 and draw(st.integers(0, 5)) else others)}{space}}}'
            for item in chosen
        )

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=draw(st.integers(0, 5)) == 0)

    return (
        f'{space}{{"job_id":{text(draw(names))},{space}"peer_id":{text(draw(names))},'
        f'"started_at":"{draw(instants)}","ended_at":{space}"{draw(instants)}"{space},'
        f'"evaluation_fields":[{space}{entries(schema.evaluation_fields)}],'
        f'{space}"additional_fields":[{entries(schema.additional_fields)}{space}]{space}}}{space}'
    )


@pytest.mark.parametrize("schema", [SATURN, WIDE], ids=["saturn", "wide"])
@given(data=st.data())
def test_both_readers_give_the_same_verdicts(schema: NetworkSchema, data: st.DataObject) -> None:
    texts = data.draw(st.lists(records_of(schema) | st.sampled_from(["", " ", "7"]), max_size=5))
    fast, slow = both("\n".join(texts).encode("utf-8", "surrogatepass"), schema)
    assert fast == slow
    array = f"[{','.join(texts)}]".encode("utf-8", "surrogatepass")
    fast, slow = both(array, schema, decode_json)
    assert fast == slow


def test_mangled_records_get_the_same_verdicts() -> None:
    """Bits, cuts, repetitions and pieces of others, in batches whose other records are sound."""
    chance = random.Random(5)
    sound = [json.dumps(saturn_record(at), ensure_ascii=False).encode() for at in range(8)]
    sound += [
        SEED_SATURN.replace(b"\n", b" "),
        json.dumps(saturn_record(1, job_id="é€😀")).encode(),
    ]
    rejected = 0
    for _ in range(400):
        batch = [bytearray(text) for text in chance.choices(sound, k=3)]
        at = chance.randrange(len(batch[1]))
        match chance.randrange(5):
            case 0:
                batch[1][at] ^= 1 << chance.randrange(8)
            case 1:
                del batch[1][at : at + chance.choice((1, 2, 9, 400))]
            case 2:
                batch[1][at:at] = batch[1][at : at + chance.choice((1, 3, 30))]
            case 3:
                batch[1][at:at] = chance.choice(
                    (b" ", b"\xc3", b"\xed\xa0\x80", b'\\"', b"0", b",")
                )
            case _:
                batch[1][at] = chance.choice(b' "\\{}[],:0n\n\x00\x7f\xff')
        fast, slow = both(b"\n".join(batch), SATURN)
        assert fast == slow
        rejected += len(fast[3])
        assert fast == slow
        fast, slow = both(b"[" + b",".join(batch) + b"]", SATURN, decode_json)
        assert fast == slow
    assert rejected > 200


@given(
    st.lists(
        st.text(alphabet='a"\\\\[{}],:', max_size=6)
        | st.lists(st.none() | st.lists(st.just({"a": 1})))
    )
)
def test_the_shape_of_json_is_found_compiled_as_in_columns(value: Any) -> None:
    text = json.dumps(value).encode()
    depth, commas = nesting.shape(text)
    assert record_scan.shape(text) == (depth, commas)
    assert commas + 1 == max(1, len(value))


def test_an_odd_record_in_a_long_array_leaves_its_neighbours_to_the_compiled_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [json.dumps(saturn_record(at)) for at in range(300)]
    texts[7] = json.dumps(saturn_record(7, job_id="é"))
    explained: list[int] = []
    kept = Explainer.explain

    def explain(self: Explainer, text: bytes, index: int) -> Any:
        explained.append(index)
        return kept(self, text, index)

    monkeypatch.setattr(Explainer, "explain", explain)
    assert decode_json(f"[{','.join(texts)}]".encode(), SATURN).table.num_rows == 300
    assert explained == [7]


def test_a_time_with_one_wrong_character_is_read_alike() -> None:
    """Every character at every place, in every form; fuzzing found a year of 20r7 that was taken for 3000."""
    texts = [
        text[:at] + mark + text[at + 1 :]
        for text in (
            "2023-05-01 00:52:57.62+00",
            "2024-02-29T23:59:59Z",
            "2023-12-31t23:59:59.123456-11:30",
        )
        for at in range(len(text) + 1)
        for mark in "0139r:-+./ Zé"
    ]
    fast, slow = both(lines(*(saturn_record(1, ended_at=text) for text in texts)), SATURN)
    assert fast == slow
    assert 100 < fast[1].num_rows < 900
    assert len(texts) == fast[0] > 1_000


def test_the_compiled_reader_takes_the_usual_forms_itself() -> None:
    """Otherwise it would be right, and of no use."""
    compact = json.dumps(saturn_record(1), separators=(",", ":"))
    backwards = saturn_record(1)
    backwards["evaluation_fields"].reverse()
    without = saturn_record(1)
    without["additional_fields"].pop()
    body = lines(
        saturn_record(1, job_id="job"),
        compact,
        json.dumps(saturn_record(1, job_id="é€😀"), ensure_ascii=False),
        backwards,
        without,
        SEED_SATURN,
    )
    assert usual_rows(body) == 6
    escaped = json.dumps(saturn_record(1, job_id="é"))
    keys = dict(reversed(saturn_record(1).items()))
    assert usual_rows(lines(escaped, keys, "7", "", saturn_record(1, job_id=""))) == 0


def test_a_record_ends_where_its_limit_is() -> None:
    """White space counts: one byte more, and the record is refused."""
    text = json.dumps(saturn_record(1)).encode()
    longest = text + b" " * (RECORD_BYTES_MAX - len(text))
    for body, good in ((longest, 1), (longest + b" ", 0), (b" " + longest, 0)):
        for decode, wrapped in ((decode_ndjson, body + b"\n"), (decode_json, b"[" + body + b"]")):
            fast, slow = both(wrapped, SATURN, decode)
            assert fast[1] == slow[1]
            if decode is decode_ndjson:  # items of an array have no white space around them
                assert (fast, fast[1].num_rows) == (slow, good)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b"[ ]",
        b"[{}]",
        b"[,]",
        b"{}",
        b'[{"job_id":"a"}',
        b"null",
        b" [1 ] ",
        b"[1,]",
        b"[1]]",
    ],
)
def test_small_and_broken_arrays(body: bytes) -> None:
    fast, slow = both(body, SATURN, decode_json)
    assert fast == slow
    record_text = json.dumps(saturn_record(1)).encode()
    for around in (
        b"[%s",
        b"[%s,",
        b"[%s,]",
        b"[%s]x",
        b"[%s] \n",
        b"\n[\r%s\t,\n%s ]",
        b"%s",
        b"[%s %s]",
    ):
        fast, slow = both(around.replace(b"%s", record_text), SATURN, decode_json)
        assert fast == slow


def test_a_reader_that_differs_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check at the start, with a compiled reader that loses a digit."""
    monkeypatch.setattr(record, "_fast", None)
    monkeypatch.setattr(record_scan.Scan, "table", lambda self, output: output.empty_table())
    with pytest.warns(RuntimeWarning, match="the two readers differ"):
        assert not record.prepare()
    assert record._fast is None
    assert decode_ndjson(lines(saturn_record(1)), SATURN).table.num_rows == 1


@pytest.fixture(params=[True, False], ids=["compiled", "explain"])
def readers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not request.param:
        monkeypatch.setattr(record, "_fast", None)
    return


@pytest.mark.usefixtures("readers")
def test_bodies_that_are_decoded_together_keep_their_own_verdicts() -> None:
    bodies = [
        Body(BodyKind.JSON, json.dumps(saturn_record(1), indent=1).encode()),
        Body(BodyKind.NDJSON, lines(saturn_record(2), "", "{", saturn_record(3))),
        Body(BodyKind.JSON, b"[1"),
        Body(BodyKind.NDJSON, b"\n\n"),
        Body(BodyKind.JSON, json.dumps([5, saturn_record(4)]).encode()),
        Body(BodyKind.NDJSON, lines("{", saturn_record(5))),
    ]
    many = decode_many(bodies, SATURN)
    assert many.errors.keys() == {2, 3}
    assert list(many.offsets) == [0, 1, 4, 4, 4, 6, 8]
    assert many.decoded.table.column("index").to_pylist() == [0, 1, 3, 5, 7]
    for at, body in enumerate(bodies):
        first, last = many.offsets[at], many.offsets[at + 1]
        if at in many.errors:
            with pytest.raises(InvalidInput) as refusal:
                decode_batch(body.data, body.kind, SATURN)
            assert str(refusal.value) == str(many.errors[at])
            continue
        alone: Decoded = decode_batch(body.data, body.kind, SATURN)
        assert alone.count == last - first
        assert many.rejections_of(at, many.decoded.rejections) == alone.rejections
        index = many.decoded.table.column("index").to_numpy()
        mine = many.decoded.table.filter((index >= first) & (index < last))
        assert mine.drop_columns("index") == alone.table.drop_columns("index")
    assert decode_many([], SATURN).decoded.count == 0


def test_texts_of_any_length_end_where_they_end_and_odd_bytes_are_found_at_every_place() -> None:
    """Eight bytes are looked at together: a control, an escape, an umlaut and broken UTF-8 at each place of them."""
    records = []
    for size in range(1, 20):
        text = "abcdefghijklmnopqrst"[:size]
        for at in range(size):
            odds = ("\x1f", "\\", '\\"', "é", "\x7f", "~")
            ids = [text[:at] + odd + text[at + 1 :] for odd in odds]
            records += [saturn_record(0, job_id=one) for one in ids]
    body = b"\n".join(json.dumps(one, ensure_ascii=False).encode() for one in records)
    body = body.replace(b"~", b"\xc3").replace(b"\\u001f", b"\x1f")
    fast, slow = both(body, SATURN)
    assert fast == slow
    assert len(fast[3]) > len(records) // 5


def test_how_fields_begin_may_change_from_record_to_record() -> None:
    """Styles and spellings are guessed from the record before, and a name that JSON must escape is never guessed."""
    odd = NetworkSchema(
        id=8,
        name="odd",
        evaluation_fields=(Field.integer('a"b'), Field.integer("c\\")),
        additional_fields=(Field.decimal("d", 3),),
    )
    random_ = random.Random(5)
    texts = []
    for _ in range(60):
        entries = [
            {"name": name, "type": kind, "value": 7}
            for name, kind in (('a"b', "int"), ("c\\", "in"), ("d", "decimal"), ("d", "integer"))
        ]
        one = saturn_record(0) | {
            "evaluation_fields": entries[:2],
            "additional_fields": [random_.choice(entries[2:])],
        }
        style = random_.choice(((",", ":"), (", ", ": "), (" ,", " : ")))
        texts.append(json.dumps(one, separators=style).encode())
        texts.append(texts[-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\"))
    fast, slow = both(b"\n".join(texts), odd)
    assert fast == slow
    assert fast[1].num_rows == 60
    plain = [lines(saturn_record(at)) for at in range(3)]
    spaced = [json.dumps(saturn_record(at)).encode() + b"\n" for at in range(3)]
    assert usual_rows(b"".join(plain + spaced + plain)) == 9
