"""What a kernel must answer before it is used: the answers of hashlib (Keccak's: of eth-hash), at the widths where something changes."""

import hashlib
from typing import Final

import numpy as np
from eth_hash.auto import keccak

from meridian.primitives.kernels.bulk import Bulk
from meridian.primitives.kernels.columns import BIT, NUMBER, TEXT

WIDTHS: Final = (0, 1, 54, 55, 56, 63, 64, 100, 112, 118, 119, 120, 287)
"""Around the ends of blocks, and the widths that the commitment has."""


def passes(bulk: Bulk) -> bool:
    """Tell whether a kernel agrees with hashlib on rows, tree nodes and texts, and on Keccak with eth-hash."""
    parts = (_rows_agree, _nodes_agree, _texts_agree, _columns_agree, _keccak_agrees)
    return all(agrees(bulk) for agrees in parts)


def _bytes(count: int) -> np.ndarray:
    """Return bytes without a pattern, the same each time."""
    return np.frombuffer(hashlib.shake_128(b"self-test").digest(count), dtype=np.uint8)


def _rows_agree(bulk: Bulk) -> bool:
    for width in WIDTHS:
        for count in (1, 2 * bulk.lanes + 3):
            rows = _bytes(count * width).reshape(count, width)
            for tag, prefix in ((None, b""), (2, b"\x02")):
                out = np.empty((count, 32), dtype=np.uint8)
                bulk.rows(rows, tag, out)
                if any(
                    digest.tobytes() != hashlib.sha256(prefix + row.tobytes()).digest()
                    for digest, row in zip(out, rows, strict=True)
                ):
                    return False
    return True


def _keccak_agrees(bulk: Bulk) -> bool:
    for width in (0, 66, 135, 136, 224):  # the widths of EIP-712, and around the end of a block
        rows = _bytes(9 * width).reshape(9, width)
        if [row.tobytes() for row in bulk.keccak(rows)] != [keccak(row.tobytes()) for row in rows]:
            return False
    return True


def _nodes_agree(bulk: Bulk) -> bool:
    sizes = np.array([bulk.lanes * 2 + 3, 1, 2, 5], dtype=np.int64)
    level = _bytes(int(sizes.sum()) * 56).reshape(-1, 56).copy()
    level[:, [32, 40, 48]] &= 0x3F  # no sum overflows
    level[:2, 32:] = 0
    level[:2, 48:] = 0xFF  # a carry from the low half of a u128 to the high one
    found, over = bulk.level(level, sizes, 3, wide=True)
    expected, start = [], 0
    for size in sizes.tolist():
        nodes = [row.tobytes() for row in level[start : start + size]]
        expected += [_parent(*nodes[at : at + 2]) for at in range(0, size - 1, 2)]
        expected += nodes[-1:] if size % 2 else []
        start += size
    return not over and [row.tobytes() for row in found] == expected


def _parent(left: bytes, right: bytes) -> bytes:
    def number(node: bytes, start: int, end: int) -> int:
        return int.from_bytes(node[start:end], "big")

    count = number(left, 32, 40) + number(right, 32, 40)
    lanes = number(left, 40, 56) + number(right, 40, 56)
    digest = hashlib.sha256(b"\x03" + left + right).digest()
    return digest + count.to_bytes(8, "big") + lanes.to_bytes(16, "big")


def _texts_agree(bulk: Bulk) -> bool:
    lengths = [0, 1, 22, 23, 36, 36, 55, 56, 64, 90, *[36] * (2 * bulk.lanes), 7]
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    data = _bytes(int(offsets[-1]))
    seeds = _bytes(64).reshape(2, 32)
    seed_of = (np.arange(len(lengths)) % 2).astype(np.int32)
    plain, seeded = (np.empty((len(lengths), 32), dtype=np.uint8) for _ in range(2))
    bulk.texts(data, offsets, plain)
    bulk.texts(data, offsets, seeded, tag=17, seeds=seeds, seed_of=seed_of)
    for at in range(len(lengths)):
        text = data[offsets[at] : offsets[at + 1]].tobytes()
        salt = b"\x11" + seeds[seed_of[at]].tobytes() + text
        if plain[at].tobytes() != hashlib.sha256(text).digest():
            return False
        if seeded[at].tobytes() != hashlib.sha256(salt).digest():
            return False
    return True


def _columns_agree(bulk: Bulk) -> bool:
    lengths = [0, 1, 31, 32, 33, 47, 48, 0, 48]
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    texts, numbers = _bytes(int(offsets[-1])), np.arange(-9, 0, dtype=np.int64) << 33
    bits, valid = _bytes(2), np.array([0b11011111, 1], dtype=np.uint8)
    lines = [
        (TEXT, 0, 48, texts.ctypes.data, len(texts), offsets.ctypes.data, valid.ctypes.data, 0),
        (NUMBER, 51, 8, numbers.ctypes.data, 0, 0, valid.ctypes.data, 0),
        (BIT, 60, 1, bits.ctypes.data, 0, 0, 0, 3),
    ]
    plain, packed = (np.empty((9, width), dtype=np.uint8) for width in (40, 62))
    bulk.put_texts(texts, offsets, plain)
    bulk.pack(packed, np.array(lines, dtype=np.int64), 0)
    for at in range(9):
        text = texts[offsets[at] : offsets[at + 1]].tobytes()
        field = b"\1" + len(text).to_bytes(2, "big") + text.ljust(48, b"\0")
        number = b"\1" + int(numbers[at]).to_bytes(8, "big", signed=True)
        bit = bytes((1, int(bits[(at + 3) // 8]) >> (at + 3) % 8 & 1))
        expected = (bytes(60) if at == 5 else field + number) + bit
        if packed[at].tobytes() != expected or plain[at].tobytes() != text[:40].ljust(40, b"\0"):
            return False
    return True
