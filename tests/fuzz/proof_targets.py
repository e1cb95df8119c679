"""The fuzz target for proof files.

The promises: a file is refused by `Malformed` and nothing else; a binary one has one spelling, and the JSON form says the
same; what holds leads to a root that somebody made.
"""

import functools

from audit.proof_files import ALL_FILES
from meridian import verifier
from meridian.measure.proof_form import encode_binary, encode_json
from meridian.verifier import Malformed

from .promise import promise


def fuzz_proof(data: bytes) -> None:
    """A proof file in either form."""
    try:
        file = verifier.decode(data)
    except Malformed:
        return
    promise(verifier.decode(encode_json(file)) == file, "the JSON form says something else")
    binary = encode_binary(file)
    promise(verifier.decode(binary) == file, "the binary form says something else")
    promise(data == binary or data[:1] != b"M", "the binary form has two spellings")
    if not verifier.holds(verifier.check(file)):
        return
    verifier.statement(file)
    one_log = file.kind == "log_consistency" and file.fields["size"] == file.fields["old_size"]
    promise(one_log or verifier.root_of(file) in _roots(), "it leads to a root that nobody made")


@functools.cache
def _roots() -> frozenset[bytes]:
    return frozenset(map(verifier.root_of, ALL_FILES.values()))


def proof_files() -> list[bytes]:
    """Every kind in both forms."""
    files = ALL_FILES.values()
    return [*map(encode_binary, files), *map(encode_json, files)]
