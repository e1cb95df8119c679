"""What every store must do, shown on each (`store_kinds`) with its real server; then what is special about buckets and CAR."""

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.node.stores.car import HEADER_SECTION, CarStore
from meridian.node.stores.s3 import Bucket, S3Store
from meridian.node.stores.sigv4 import Credentials, signed_headers
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.hashing import sha256
from node.stores.s3_server import ACCOUNT, s3_server
from node.stores.store_kinds import BYTES_MAX, Kind, Kubo


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with s3_server(tmp_path_factory.mktemp("s3")) as one:
        yield one


@settings(max_examples=8)
@given(
    objects=st.lists(st.binary(max_size=300), max_size=6),
    forgotten=st.sets(st.integers(0, 5), max_size=3),
)
def test_a_store_holds_what_was_put_and_not_deleted(
    kind: Kind, objects: list[bytes], forgotten: set[int]
) -> None:
    store = kind.fresh()
    assert list(store.digests()) == []
    for data in [*objects, *objects]:
        assert store.put(data) == digest_of(data)
    gone = {digest_of(objects[at]) for at in forgotten if at < len(objects)}
    for digest in [*gone, *gone, bytes(32)]:
        if store.append_only:
            with pytest.raises(InvalidInput, match="append-only"):
                store.delete(digest)
        else:
            store.delete(digest)
    again = kind.open()
    kept = {
        digest_of(data): data
        for data in objects
        if store.append_only or digest_of(data) not in gone
    }
    assert sorted(again.digests()) == sorted(kept)
    for data in objects:
        digest = digest_of(data)
        assert again.has(digest) == (digest in kept)
        if digest in kept:
            assert again.get(digest) == data
        else:
            with pytest.raises(NotFound):
                again.get(digest)


def test_missing_damaged_and_too_long_objects_are_errors(kind: Kind) -> None:
    store = kind.fresh()
    with pytest.raises(NotFound):
        store.get(bytes(32))
    assert not store.has(bytes(32))
    with pytest.raises(InvalidInput):
        store.put(bytes(BYTES_MAX + 1))
    longest = store.put(bytes(BYTES_MAX))
    digest = store.put(b"an object")
    kind.damage(digest, b"AN OBJECT")
    store = kind.open()
    with pytest.raises(StorageFailure, match="damaged"):
        store.get(digest)
    assert store.get(longest) == bytes(BYTES_MAX)
    if not store.append_only:
        store.delete(digest)
    if kind.heals:
        assert store.put(b"an object") == digest
        assert store.get(digest) == b"an object"


def test_many_may_put_and_get_at_once(kind: Kind) -> None:
    store = kind.fresh()
    objects = [b"%d" % at * 50 for at in range(12)]
    problems: list[BaseException] = []

    def work(shift: int) -> None:
        try:
            for at in range(12):
                data = objects[(at + shift) % 12]
                assert store.get(store.put(data)) == data
        except BaseException as error:  # noqa: BLE001 - shown below
            problems.append(error)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in (0, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert sorted(store.digests()) == sorted(map(digest_of, objects))


@pytest.mark.parametrize("kind", ["kubo"], indirect=True)
def test_an_ipfs_node_imports_our_car_file(kind: Kubo, tmp_path: Path) -> None:
    """The round trip through a reader that shares no code with ours."""
    objects = [b"one", bytes(3_000), b"three" * 99]
    path = tmp_path / "o.car"
    with closing(CarStore(path)) as store:
        digests = [store.put(data) for data in objects]
    boundary = "car-boundary"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="o.car"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    kinds = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

    def call(name: str, data: bytes, headers: dict[str, str]) -> bytes:
        url = f"{kind.url}/api/v0/{name}"
        request = urllib.request.Request(url, data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    call("dag/import?pin-roots=false", body, kinds)
    for digest, data in zip(digests, objects, strict=True):
        assert call(f"block/get?arg={cid_text(digest)}&timeout=5s", b"", {}) == data


# --- the bucket ------------------------------------------------------------------------------------


def test_the_server_refuses_another_secret_and_another_bucket(bucket: Bucket) -> None:
    other = Credentials(ACCOUNT.access_key, "another secret", ACCOUNT.region)
    with pytest.raises(RemoteFault, match="403"):
        S3Store(replace(bucket, credentials=other)).put(b"data")
    store = S3Store(bucket)
    digest = digest_of(b"data")
    assert not store.has(digest)
    assert store.put(b"data") == digest
    with pytest.raises(RemoteFault, match="404"):
        S3Store(replace(bucket, name="no-such-bucket")).put(b"data")
    with pytest.raises(InvalidInput):
        S3Store(replace(bucket, endpoint="ftp://127.0.0.1"))


def test_a_service_that_is_away_is_tried_again_and_then_a_fault(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meridian.node.stores.s3.PAUSE_FIRST_S", 0.01)
    store = S3Store(replace(bucket, endpoint="http://127.0.0.1:9"))
    for work in (
        lambda: store.put(b"x"),
        lambda: store.get(bytes(32)),
        lambda: store.has(b"1" * 32),
    ):
        with pytest.raises(RemoteFault):
            work()


def test_lists_have_pages_and_names_any_letters(bucket: Bucket) -> None:
    store = S3Store(replace(bucket, prefix="a prefix+/"))
    names = [f"tile/0/x001/{at:03d}.p/5" for at in range(3)] + ["log/checkpoint", "a b+ü~'.json"]
    for name in names:
        store.put_file(name, name.encode())
    assert sorted(store.names()) == sorted(names)
    assert list(store.names("log/")) == ["log/checkpoint"]


def test_the_signature_is_that_of_amazons_own_example() -> None:
    """GET Object of the S3 documentation's examples for Signature Version 4, here without its Range header."""
    account = Credentials(
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"
    )
    headers = signed_headers(
        account,
        "GET",
        "examplebucket.s3.amazonaws.com",
        "/",
        {"lifecycle": ""},
        sha256(),
        1_369_353_600,
    )
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["Authorization"].endswith(
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


# --- the CAR file ----------------------------------------------------------------------------------


def test_a_car_file_is_what_other_readers_read(tmp_path: Path) -> None:
    """Read here section by section, from the specification."""
    with closing(CarStore(tmp_path / "o.car")) as store:
        digests = [store.put(data) for data in (b"one", b"", bytes(300))]
    data = (tmp_path / "o.car").read_bytes()
    assert data[0] == len(HEADER_SECTION) - 1
    header = data[1 : len(HEADER_SECTION)]
    assert header.hex() == "a265726f6f747381d82a450001550000" + "6776657273696f6e01"
    at, found = len(HEADER_SECTION), []
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.append((data[at : at + 36].hex(), data[at + 36 : at + length]))
        at += length
    assert found == [
        ("01551220" + digest.hex(), block)
        for digest, block in zip(digests, (b"one", b"", bytes(300)), strict=True)
    ]
    assert cid_text(digests[1]).startswith("bafkrei")


def test_a_torn_end_is_cut_off_and_a_stranger_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.car"
    with closing(CarStore(path)) as store:
        first, second = store.put(b"first" * 40), store.put(b"second" * 40)
    whole = path.read_bytes()
    start_of_second = len(whole) - (2 + 36 + 240)
    for cut in (*range(start_of_second, start_of_second + 40), len(whole) - 1):
        path.write_bytes(whole[:cut])
        with closing(CarStore(path)) as store:
            assert store.has(first)
            assert not store.has(second)
            assert store.put(b"second" * 40) == second
        assert path.read_bytes() == whole
    with closing(CarStore(path)), pytest.raises(StorageFailure, match="another process"):
        CarStore(path)
    for bad in (b"", b"\x00" * 60, HEADER_SECTION + b"\x30" + bytes(48)):
        path.write_bytes(bad)
        with pytest.raises(StorageFailure):
            CarStore(path)
