"""The garbage of the saboteur is hostile and the same for the same seed."""

import random

from meridian.journey.saboteur import garbage

HEARD = [b"\x01" * 40, b"\x02" * 7, b"\x03"]


def frames(seed: int, heard: list[bytes], count: int = 300) -> list[bytes]:
    chance = random.Random(seed)
    return [garbage(chance, heard) for _ in range(count)]


def test_the_same_seed_gives_the_same_frames_and_another_gives_others() -> None:
    assert frames(1, HEARD) == frames(1, HEARD)
    assert frames(1, HEARD) != frames(2, HEARD)


def test_every_kind_of_garbage_occurs() -> None:
    made = frames(1, HEARD)
    replayed = [frame for frame in made if frame in HEARD]
    flipped = [frame for frame in made if any(one_bit_apart(frame, known) for known in HEARD)]
    noise = len(made) - len(replayed) - len(flipped)
    assert min(len(replayed), len(flipped), noise) > 50


def one_bit_apart(one: bytes, other: bytes) -> bool:
    if len(one) != len(other):
        return False
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True)) == 1


def test_before_anything_was_heard_it_is_noise_of_bounded_length() -> None:
    made = frames(1, [])
    assert all(1 <= len(frame) < 2000 for frame in made)
    assert len(set(made)) > 290


def test_an_empty_frame_that_was_heard_is_no_trap_for_the_saboteur() -> None:
    assert b"" in frames(1, [b""])


def test_what_was_heard_is_not_changed() -> None:
    heard = list(HEARD)
    frames(1, heard)
    assert heard == HEARD
