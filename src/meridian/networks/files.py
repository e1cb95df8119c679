"""Reading input files, gzipped or plain, with a bound on what they may unpack to."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound

BYTES_MAX: Final = 2 << 30
LINE_BYTES_MAX: Final = 1 << 30
_GZIP: Final = b"\x1f\x8b"


def read_file(path: Path) -> bytes:
    """Return a file's contents, unpacked where it is gzipped.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it cannot be read, or holds more than `BYTES_MAX`.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as stream:
            data = stream.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(str(path), f"cannot be read: {error}") from error
    if len(data) > BYTES_MAX:
        raise InvalidInput(str(path), f"holds more than {BYTES_MAX} bytes")
    return data


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file's lines with their numbers from 1, unpacked where it is gzipped; blank lines are left out.

    Only one line is held at a time, so the file may be of any length.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it cannot be read, or a line is longer than `LINE_BYTES_MAX`.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as stream:
            number = 0
            while line := stream.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    raise InvalidInput(
                        f"{path} line {number}", f"is longer than {LINE_BYTES_MAX} bytes"
                    )
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(str(path), f"cannot be read: {error}") from error
