"""Every command that a document shows exists, with these options.

Journeys run the commands; here each line is walked through click's tree of commands, without running anything.
"""

import re
import shlex
from pathlib import Path

import click
import pytest
from markdown_pages import ROOT, documents, fenced, spans, without_blocks

from meridian.cli.main import EPILOG, main

CONTEXT = click.Context(main)
SHELLS = ("sh", "shell", "bash", "console")
FRONT = re.compile(r"^(?:\$ )?(?P<front>\./dev|(?:\.venv/bin/)?meridian)(?P<rest>(?: .*)?)$")
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|N")


class Wrong(Exception):
    """A line that cannot be a command; the text says why."""


def dev_commands() -> set[str]:
    """The commands of the front door, from its own case statement."""
    body = (ROOT / "dev").read_text().split("case $command in", 1)[1]
    arms = re.findall(r"^([a-z| ]+)\) exec", body, re.MULTILINE)
    return {name.strip() for arm in arms for name in arm.split("|")}


def words_of(line: str) -> list[str] | None:
    """The words behind `meridian` of a command line; None for other lines and for `./dev test`."""
    match = FRONT.match(line.strip())
    if match is None:
        return None
    words = [word for word in shlex.split(match["rest"], comments=True) if word != "..."]
    if match["front"] == "./dev":
        if words and words[0] not in dev_commands():
            raise Wrong(f"./dev has no command {words[0]!r}")
        if not words or words[0] in {"test", "docs"}:
            return None
        if words[0] == "meridian":
            words = words[1:]
    return [word for word in words if not re.fullmatch(r"\[.*\]", word)]


def walk(words: list[str], *, whole: bool) -> None:
    """Follow the words through the tree of commands; `whole` lines must have what a command needs."""
    command: click.Command = main
    rest, path = list(words), ["meridian"]
    while isinstance(command, click.Group):
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        if rest and rest[0] in known:
            return
        if not rest:
            if whole and path != ["meridian"]:
                raise Wrong(f"{' '.join(path)} needs a command")
            return
        name = rest.pop(0)
        found = command.get_command(CONTEXT, name)
        if found is None and (default := getattr(command, "default", None)) is not None:
            rest.insert(0, name)
            found = command.get_command(CONTEXT, default)
        if found is None:
            raise Wrong(f"{' '.join(path)} has no command {name!r}")
        command = found
        path.append(name)
    check(command, rest, " ".join(path), whole=whole)


def check(command: click.Command, rest: list[str], path: str, *, whole: bool) -> None:
    options = {
        name: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    given: set[str] = set()
    positional = 0
    while rest:
        word = rest.pop(0)
        if word == "--":
            return
        if not word.startswith("-"):
            positional += 1
            continue
        name, equals, value = word.partition("=")
        if name == "--help":
            return
        if name not in options:
            raise Wrong(f"{path} has no option {name}")
        option = options[name]
        given.add(str(option.name))
        if option.is_flag:
            continue
        if not equals:
            if not rest:
                if whole:
                    raise Wrong(f"{path} {name} needs a value")
                continue
            value = rest.pop(0)
        fits(option, value, path)
    room = sum(abs(argument.nargs) if argument.nargs > 0 else 1_000 for argument in arguments)
    if positional > room:
        raise Wrong(f"{path} takes {room} arguments, not {positional}")
    if whole:
        lacking = [o.opts[-1] for o in options.values() if o.required and o.name not in given]
        if lacking and "config_file" not in given:  # which has the others
            raise Wrong(f"{path} needs {', '.join(sorted(set(lacking)))}")
        if positional < sum(1 for argument in arguments if argument.required):
            raise Wrong(f"{path} needs an argument")


def fits(option: click.Option, value: str, path: str) -> None:
    if PLACEHOLDER.fullmatch(value) or isinstance(option.type, click.Path):
        return
    try:
        option.type.convert(value, option, None)
    except click.UsageError as error:
        raise Wrong(f"{path} {option.opts[-1]} {value}: {error.message}") from error


def shown_commands(text: str) -> list[tuple[str, bool]]:
    """(line, whole) of all commands: lines of shell blocks are whole, code spans may be cut."""
    lines = [
        line for block in fenced(text, *SHELLS) for line in block.replace("\\\n", " ").split("\n")
    ]
    found = [(line, True) for line in lines if FRONT.match(line.strip())]
    found += [(span, False) for span in spans(without_blocks(text)) if FRONT.match(span)]
    return found


def places() -> list[tuple[str, str, bool]]:
    found = []
    for path in documents():
        name = str(path.relative_to(ROOT))
        found += [(name, line, whole) for line, whole in shown_commands(path.read_text())]
    helped = re.sub(r"  +(?=\S)", "  ", EPILOG)
    for line in helped.split("\n"):
        command = re.split(r"\s{2,}", line.strip())[0]
        if FRONT.match(command):
            found.append(("meridian --help", command, True))
    return found


PLACES = places()


@pytest.mark.parametrize(
    ("name", "line", "whole"), PLACES, ids=[f"{n}: {line}" for n, line, _ in PLACES]
)
def test_every_shown_command_exists(name, line, whole):
    words = words_of(line)
    if words is not None:
        walk(words, whole=whole)


def test_commands_are_found_at_all():
    assert len([line for name, line, whole in PLACES if name == "README.md" and whole]) >= 6
    assert {"demo", "run", "meridian", "test"} <= dev_commands()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("meridian vanish", "no command 'vanish'"),
        ("./dev vanish", "no command 'vanish'"),
        ("meridian demo --vanish", "no option --vanish"),
        ("meridian demo --jobs many", "not a valid integer"),
        ("meridian proof", "needs a command"),
        ("meridian node show --epoch 1 --node N", "needs --data-dir"),
        ("meridian verify --epoch 1 --data-dir DIR more", "takes 0 arguments"),
        ("meridian demo --seed", "needs a value"),
    ],
)
def test_a_wrong_command_is_found(line, reason):
    with pytest.raises(Wrong, match=re.escape(reason)):
        words = words_of(line)
        assert words is not None
        walk(words, whole=True)


def test_every_command_has_help():
    def below(command: click.Command) -> list[click.Command]:
        names = command.list_commands(CONTEXT) if isinstance(command, click.Group) else ()
        inner = [command.get_command(CONTEXT, name) for name in names]
        return [command, *(item for part in inner for item in below(part))]

    for command in below(main):
        assert command.help, command.name


def test_the_front_door_is_executable():
    path = Path(ROOT / "dev")
    assert path.stat().st_mode & 0o111
