"""From decided rows to amounts, claims and roots again, written for reading, straight from pages 1, 5 and 7."""

from collections.abc import Sequence
from hashlib import sha256

from tests.oracle.plain_averages import Value, lower_middle, plain_wmedian

MILLION = 10**6
HALF = 500_000

Standing = tuple[int, int]
"""Agreed and differed, millionths of an epoch."""


def digest(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()


def split(weights: list[int], total: int) -> list[int]:
    """Floors of the exact shares; what is left goes one each to the largest remainders, the first of equal ones."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    rests = [(-(total * weight % whole), place) for place, weight in enumerate(weights)]
    for _, place in sorted(rests)[: total - sum(parts)]:
        parts[place] += 1
    return parts


def weight_of(standing: Standing) -> int:
    agreed, differed = standing
    return max(HALF, MILLION * agreed // (agreed + differed)) if agreed + differed else HALF


def decided(
    rows: dict[str, list[Value]], members: list[str], standings: dict[str, Standing]
) -> list[Value]:
    """Each node's weight: `wmedian` with learnt reliability; rows of some of the members."""
    order = [*rows, *(member for member in members if member not in rows)]
    weights = [weight_of(standings.get(member, (0, 0))) for member in order]
    return [
        plain_wmedian(column, len(members), weights) for column in zip(*rows.values(), strict=True)
    ]


def learnt(
    rows: dict[str, list[Value]],
    result: list[Value],
    standings: dict[str, Standing],
    tolerance_ppm: int,
) -> dict[str, Standing]:
    """The standings after an epoch."""
    after = dict(standings)
    for member, row in rows.items():
        judged = [
            (said, right)
            for said, right in zip(row, result, strict=True)
            if said is not None and right is not None
        ]
        if not judged:
            continue
        agreeing = sum(
            abs(said - right) <= right * tolerance_ppm // MILLION for said, right in judged
        )
        share = MILLION * agreeing // len(judged)
        agreed, differed = after.get(member, (0, 0))
        after[member] = (
            agreed * 950_000 // MILLION + share,
            differed * 950_000 // MILLION + MILLION - share,
        )
    return after


def trust(row: list[Value], result: list[Value]) -> int:
    said, right = sum(v or 0 for v in row), sum(v or 0 for v in result)
    if not said or not right:
        return 0
    kept = sum(min((v or 0) * right, (w or 0) * said) for v, w in zip(row, result, strict=True))
    return MILLION * kept // (said * right)


def shares(
    rows: dict[str, list[Value]], result: list[Value], budget: int
) -> tuple[list[int], list[int]]:
    """Each node's amount, and what is held back for deferred ones: by the lower median of those who did speak."""
    wanted = []
    for column, weight in zip(zip(*rows.values(), strict=True), result, strict=True):
        spoken = [value for value in column if value is not None]
        wanted.append(weight if weight is not None else lower_middle(spoken) if spoken else 0)
    parts = split(wanted, budget)
    due = [0 if weight is None else part for weight, part in zip(result, parts, strict=True)]
    return due, [part - amount for part, amount in zip(parts, due, strict=True)]


def evaluators_pay(pool: int, rows: dict[str, list[Value]], result: list[Value]) -> dict[str, int]:
    return {
        member: pool // len(rows) * trust(row, result) // MILLION for member, row in rows.items()
    }


def verdict_root(nodes: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Over (node key, codes of its jobs in the order of job keys), ascending by key; the tree's shape is RFC 9162's."""
    leaves = [
        digest(b"\x08", key, len(codes).to_bytes(8, "big"), digest(codes)) for key, codes in nodes
    ]

    def root(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return part[0]
        left = 1
        while left * 2 < len(part):
            left *= 2
        return digest(b"\x09", root(part[:left]), root(part[left:]))

    return root(leaves) if leaves else digest()


def reward_root(claims: dict[bytes, tuple[bytes, int]]) -> bytes:
    """Over node key -> (payee, cumulative): a sum tree whose nodes hash both children with their sums."""
    leaves = [
        (digest(b"\x06", key, payee, amount.to_bytes(16, "big")), 1, amount)
        for key, (payee, amount) in sorted(claims.items())
    ]

    def node(item: tuple[bytes, int, int]) -> bytes:
        return item[0] + item[1].to_bytes(8, "big") + item[2].to_bytes(16, "big")

    def root(part: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int]:
        if len(part) == 1:
            return part[0]
        left = 1
        while left * 2 < len(part):
            left *= 2
        a, b = root(part[:left]), root(part[left:])
        return digest(b"\x07", node(a), node(b)), a[1] + b[1], a[2] + b[2]

    top = node(root(leaves)) if leaves else digest() + bytes(24)
    return digest(b"\x13", len(leaves).to_bytes(8, "big"), top)
