"""`meridian ephemera verify-block` and `verify-evidence`: what anybody can check without asking anybody."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from meridian.errors import InvalidInput, MeridianError

BROKEN: Final = 1

json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON on standard output instead of text."
)
files_argument = click.argument(
    "files", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True
)

Finding = dict[str, object]


def _report(findings: Iterator[Finding], *, as_json: bool) -> None:
    """Print every finding; exit code 1 if one does not hold."""
    broken = 0
    for finding in findings:
        broken += not finding["holds"]
        if as_json:
            click.echo(json.dumps(finding))
        else:
            mark = "✓" if finding["holds"] else "✗"
            where = f"{finding['file']}:{finding['line']}" if "line" in finding else finding["file"]
            click.echo(f"{mark} {where}  {finding.get('what') or finding['reason']}")
    if broken:
        raise click.exceptions.Exit(BROKEN)


def _finding(where: Finding, check: Callable[[], Finding]) -> Finding:
    try:
        return where | {"holds": True} | check()
    except MeridianError as error:
        return where | {"holds": False, "reason": str(error)}


@click.command("verify-block")
@files_argument
@click.option(
    "--members",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Members file that the blocks must be of; without it the file's own member set is believed.",
)
@json_option
def verify_block(files: tuple[Path, ...], members: Path | None, *, as_json: bool) -> None:
    """Check blocks or message proofs offline: what `blocks --json` or the API's block and proof answers hold.

    FILES hold one JSON document per line. Exit code 1 if any of them does not verify.
    """
    from meridian.node.durable_file import read_whole
    from meridian.node.ephemera.members_file import read_members

    context = None if members is None else read_members(members).member_set().context()

    def findings() -> Iterator[Finding]:
        for path in files:
            for line, text in enumerate(read_whole(path).splitlines(), 1):
                if text.strip():
                    where: Finding = {"file": str(path), "line": line}
                    yield _finding(where, partial(_verify, text, context))

    _report(findings(), as_json=as_json)


def _verify(text: bytes, trusted: Any) -> dict[str, object]:
    """Check one document; raises InvalidInput."""
    from meridian.node.ephemera.documents import (
        BlockDocument,
        ProofDocument,
        verify_block_document,
        verify_proof_document,
    )
    from meridian.node.strict_json import read_json

    document: BlockDocument | ProofDocument
    if b'"path"' in text:
        document = read_json(text, ProofDocument)
        context = verify_proof_document(document)
        what = f"message {document.message_hash} in block {document.header.hash}"
    else:
        document = read_json(text, BlockDocument)
        context = verify_block_document(document).context
        what = f"block {document.header.hash}, {document.header.count} messages"
    if trusted is not None and context != trusted:
        raise InvalidInput("member_set", "is not that of the members file")
    votes = len(document.certificate.votes)
    return {"what": f"{what}, {votes} votes of {context.n} members", "hash": document.header.hash}


@click.command("verify-evidence")
@files_argument
@click.option(
    "--members",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Members file that the evidence must be about; without it the file's own members are believed.",
)
@json_option
def verify_evidence(files: tuple[Path, ...], members: Path | None, *, as_json: bool) -> None:
    """Check evidence files offline: who signed two statements that no correct member signs together.

    A node keeps such files in the folder `evidence` of its data directory. Exit code 1 if one proves nothing.
    """
    from meridian.node.ephemera.members_file import read_members

    trusted = None if members is None else read_members(members).member_set().context()
    findings = (
        _finding({"file": str(path)}, partial(_verify_evidence, path, trusted)) for path in files
    )
    _report(findings, as_json=as_json)


def _verify_evidence(path: Path, trusted: Any) -> Finding:
    """Check one file; raises InvalidInput."""
    from meridian.ephemera.evidence_file import verify_evidence_file
    from meridian.node.durable_file import read_whole
    from meridian.primitives.ids import address_text

    context, guilt = verify_evidence_file(read_whole(path))
    if trusted is not None and context != trusted:
        raise InvalidInput("members", "the evidence is about another network or member set")
    member = address_text(context.members[guilt.member])
    return {
        "member": member,
        "kind": guilt.kind,
        "epoch": context.epoch,
        "network": context.network.hex(),
        "what": f"{member} is guilty of {guilt.kind} in epoch {context.epoch}",
    }
