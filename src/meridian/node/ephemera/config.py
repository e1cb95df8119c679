"""The configuration of a node: one TOML file, strict, described key by key in this one place.

The descriptions below are what `init-config` writes as comments and what docs/ephemera-node.md shows; a
test compares them. Keys never stand in the file, only the paths of key files.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Self, get_args

import msgspec
import tomlkit
import tomlkit.exceptions

from meridian.ephemera.messages.block import BLOCK_BYTES_MAX, MESSAGES_MAX
from meridian.ephemera.messages.message import DATA_BYTES_MAX
from meridian.ephemera.messages.settings import BlockSettings, MempoolLimits
from meridian.errors import InvalidInput
from meridian.node.durable_file import read_whole, write_durably
from meridian.primitives.ids import parse_address

CONFIG_FILE: Final = "ephemera.toml"
CONFIG_BYTES_MAX: Final = 1 << 20

_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*?)`)?$")


def _meta(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


_DAY_MS: Final = 86_400_000


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class NodeSection(_Section, frozen=True, kw_only=True):
    """Who this node is."""

    name: Annotated[str, _meta("Name in logs and in the API.", max_length=64)] = "default"
    data_dir: Annotated[str, _meta("The node's own directory, from here if relative.")] = "data"
    key_file: Annotated[str, _meta("File with the secp256k1 key that signs the protocol.")] = (
        "node.key"
    )
    link_key_file: Annotated[str, _meta("File with the seed of the Ed25519 link key.")] = "link.key"


class LinksSection(_Section, frozen=True, kw_only=True):
    """The mutually authenticated links to the other members."""

    host: Annotated[str, _meta("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _meta("Port to listen on.", ge=1, le=65_535)] = 3000
    public_host: Annotated[
        str, _meta("Host under which the others reach us; empty: the one that we listen on.")
    ] = ""
    public_port: Annotated[
        int, _meta("Port under which the others reach us; 0: the same.", ge=0, le=65_535)
    ] = 0


class ApiSection(_Section, frozen=True, kw_only=True):
    """The HTTP interface."""

    host: Annotated[str, _meta("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _meta("Port to listen on.", ge=1, le=65_535)] = 7000
    admin_token_file: Annotated[
        str, _meta("File with the bearer token for writes to the store; made if missing.")
    ] = "admin.token"  # noqa: S105 - a file's name
    body_bytes_max: Annotated[int, _meta("Longest request body.", ge=1_024, le=16 << 20)] = 1 << 20
    requests_per_s: Annotated[
        int, _meta("Requests per second that one client address may make.", ge=1)
    ] = 50
    requests_burst: Annotated[int, _meta("Requests that it may make at once.", ge=1)] = 100
    clients_max: Annotated[
        int, _meta("Client addresses whose rate is remembered.", ge=16, le=1 << 20)
    ] = 4_096
    concurrency_max: Annotated[int, _meta("Requests in work at a time.", ge=1, le=10_000)] = 128
    connections_max: Annotated[
        int,
        _meta("Connections at a time; one more closes the oldest that is idle.", ge=8, le=10_000),
    ] = 256
    timeout_ms: Annotated[int, _meta("Longest time for one request.", ge=100, le=600_000)] = 10_000


class WebsocketSection(_Section, frozen=True, kw_only=True):
    """Push of finalised blocks, on the API's port."""

    enabled: Annotated[bool, _meta("Whether /ephemera/ws is served.")] = True
    clients_max: Annotated[int, _meta("Clients at a time.", ge=1, le=1_000)] = 64
    queue_blocks: Annotated[
        int, _meta("Blocks that wait for one client; a slower one is told and closed.", ge=1)
    ] = 256
    ping_ms: Annotated[int, _meta("How often a silent client is pinged.", ge=100, le=600_000)] = (
        15_000
    )


class StorageSection(_Section, frozen=True, kw_only=True):
    """Where blocks and what we signed are kept."""

    backend: Annotated[str, _meta("Kind of database.", pattern="^sqlite$")] = "sqlite"


class BlocksSection(_Section, frozen=True, kw_only=True):
    """How this node takes part in blocks and broadcast."""

    producer: Annotated[bool, _meta("Whether own blocks are made.")] = True
    interval_ms: Annotated[int, _meta("How often an own block is tried.", ge=10, le=_DAY_MS)] = (
        30_000
    )
    block_bytes_max: Annotated[int, _meta("Longest own block.", ge=1_024, le=BLOCK_BYTES_MAX)] = (
        BLOCK_BYTES_MAX
    )
    block_messages_max: Annotated[
        int, _meta("Most messages in an own block.", ge=1, le=MESSAGES_MAX)
    ] = MESSAGES_MAX
    resend_ms: Annotated[
        int, _meta("Own statements of an unfinished slot are sent again after this.", ge=10)
    ] = 400
    fetch_ms: Annotated[
        int, _meta("A payload that did not come is asked for elsewhere after this.", ge=10)
    ] = 1_000
    sync_ms: Annotated[int, _meta("How often another member is told how far we are.", ge=10)] = (
        2_000
    )


class MempoolSection(_Section, frozen=True, kw_only=True):
    """Messages that wait for a block."""

    messages_max: Annotated[int, _meta("Messages of all senders.", ge=1, le=1 << 20)] = 10_000
    bytes_max: Annotated[int, _meta("Bytes of all messages.", ge=1_024, le=1 << 32)] = 64 << 20
    per_sender_max: Annotated[int, _meta("Messages of one sender.", ge=1)] = 256
    data_bytes_max: Annotated[
        int, _meta("Bytes of data of one message.", ge=1, le=DATA_BYTES_MAX)
    ] = DATA_BYTES_MAX
    ttl_ms: Annotated[
        int, _meta("A message that is in no own block after this time is dropped.", ge=1_000)
    ] = 3_600_000
    clients: Annotated[
        tuple[str, ...], _meta("Accounts besides the members whose messages are taken.")
    ] = ()


class MembershipSection(_Section, frozen=True, kw_only=True):
    """Where members and their addresses come from."""

    kind: Annotated[
        str, _meta("Who is a member: file or contract.", pattern="^(file|contract)$")
    ] = "file"
    file: Annotated[
        str, _meta("The members (kind file), or hints of host and port (kind contract).")
    ] = "members.toml"
    network_dir: Annotated[str, _meta("Directory with network.json (kind contract).")] = ""
    hints_url: Annotated[
        str, _meta("URL of signed hints of host and port; https, or http on loopback.")
    ] = ""
    hints_allow_private: Annotated[
        bool, _meta("Whether that URL and its hints may lead to private addresses.")
    ] = False
    refresh_ms: Annotated[int, _meta("How often the providers are asked.", ge=100, le=_DAY_MS)] = (
        60_000
    )


class MetricsSection(_Section, frozen=True, kw_only=True):
    """Prometheus metrics, on the API's port."""

    enabled: Annotated[bool, _meta("Whether /metrics is served.")] = True


class LogSection(_Section, frozen=True, kw_only=True):
    """JSON lines on standard error."""

    level: Annotated[
        str,
        _meta(
            "Least level: debug, info, warning or error.", pattern="^(debug|info|warning|error)$"
        ),
    ] = "info"


class NodeConfig(_Section, frozen=True, kw_only=True):
    """The whole file."""

    node: NodeSection = msgspec.field(default_factory=NodeSection)
    links: LinksSection = msgspec.field(default_factory=LinksSection)
    api: ApiSection = msgspec.field(default_factory=ApiSection)
    websocket: WebsocketSection = msgspec.field(default_factory=WebsocketSection)
    storage: StorageSection = msgspec.field(default_factory=StorageSection)
    blocks: BlocksSection = msgspec.field(default_factory=BlocksSection)
    mempool: MempoolSection = msgspec.field(default_factory=MempoolSection)
    membership: MembershipSection = msgspec.field(default_factory=MembershipSection)
    metrics: MetricsSection = msgspec.field(default_factory=MetricsSection)
    log: LogSection = msgspec.field(default_factory=LogSection)

    def __post_init__(self) -> None:
        for text in self.mempool.clients:
            parse_address(text, "mempool.clients")
        if self.membership.kind == "contract" and not self.membership.network_dir:
            raise InvalidInput("membership.network_dir", "kind contract needs it")
        self.block_settings()

    def block_settings(self) -> BlockSettings:
        """Return what the core needs to know."""
        mempool, blocks = self.mempool, self.blocks
        return BlockSettings(
            producer=blocks.producer,
            interval_ms=blocks.interval_ms,
            block_bytes_max=blocks.block_bytes_max,
            block_messages_max=blocks.block_messages_max,
            resend_ms=blocks.resend_ms,
            fetch_ms=blocks.fetch_ms,
            sync_ms=blocks.sync_ms,
            clients=frozenset(parse_address(text) for text in mempool.clients),
            mempool=MempoolLimits(
                messages_max=mempool.messages_max,
                bytes_max=mempool.bytes_max,
                per_sender_max=mempool.per_sender_max,
                data_bytes_max=mempool.data_bytes_max,
                ttl_ms=mempool.ttl_ms,
            ),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration file.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it is no TOML, has an unknown key, or a value of the wrong type or out of range;
                the field names the key.
        """
        return cls.parse(read_whole(path, CONFIG_BYTES_MAX).decode("utf-8", "replace"), str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read the text of a configuration file; `source` names it in errors."""
        try:
            return msgspec.convert(tomllib.loads(text), cls)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(source, f"is no TOML: {error}") from error
        except RecursionError as error:
            raise InvalidInput(source, "is nested too deeply") from error
        except InvalidInput as error:
            raise InvalidInput(source, f"{error.field}: {error.reason}") from error
        except msgspec.ValidationError as error:
            raise InvalidInput(source, _explain(str(error))) from error


def keys() -> list[tuple[str, str, object, str]]:
    """Return (section, key, default, description) of every key, in the order of the file."""
    found = []
    for section in msgspec.structs.fields(NodeConfig):
        for key in msgspec.structs.fields(section.type):
            (meta,) = [m for m in get_args(key.type)[1:] if isinstance(m, msgspec.Meta)]
            found.append((section.name, key.name, key.default, meta.description or ""))
    return found


def render(values: dict[str, object]) -> str:
    """Return the text of a configuration with every key and its comment; `values` by ``section.key`` replace defaults.

    Raises:
        InvalidInput: If a key does not exist.
    """
    known = {f"{section}.{key}" for section, key, _, _ in keys()}
    for name in values:
        if name not in known:
            raise InvalidInput(name, _suggest(name, known))
    lines: list[str] = []
    titles = {s.name: s.type.__doc__.splitlines()[0] for s in msgspec.structs.fields(NodeConfig)}
    at = ""
    for section, key, default, description in keys():
        if section != at:
            lines += (
                ["", f"[{section}]  # {titles[section]}"]
                if at
                else [f"[{section}]  # {titles[section]}"]
            )
            at = section
        value = values.get(f"{section}.{key}", default)
        lines.append(f"# {description}")
        plain = list(value) if isinstance(value, tuple) else value
        lines.append(f"{key} = {tomlkit.item(plain).as_string()}")
    return "\n".join(lines) + "\n"


def update(path: Path, key: str, text: str) -> None:
    """Change one key of a file; comments and order survive, and a value that does not fit changes nothing.

    Args:
        path: The file.
        key: ``section.key``.
        text: The value as TOML, or plain text for a key that holds text.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If file, key or value are not acceptable.
    """
    document = tomlkit.parse(_checked(path))
    section, _, name = key.partition(".")
    defaults = {(s, k): default for s, k, default, _ in keys()}
    if (section, name) not in defaults:
        raise InvalidInput(key, _suggest(key, {f"{s}.{k}" for s, k in defaults}))
    if isinstance(defaults[section, name], str):
        value: Any = text
    else:
        try:
            value = tomlkit.value(text)
        except tomlkit.exceptions.ParseError as error:
            raise InvalidInput(key, f"{text!r} is no TOML value") from error
    table = document.setdefault(section, tomlkit.table())
    table[name] = value
    changed = document.as_string()
    NodeConfig.parse(changed, str(path))
    write_durably(path, changed.encode())


def _checked(path: Path) -> str:
    text = read_whole(path, CONFIG_BYTES_MAX).decode("utf-8", "replace")
    NodeConfig.parse(text, str(path))
    return text


def _explain(reason: str) -> str:
    """Add the nearest key to the decoder's message about an unknown one."""
    match = _UNKNOWN_KEY.match(reason)
    if match is None:
        return reason.replace(" - at `$.", " - at `")
    unknown, section = match[1], match[2] or ""
    if section:
        known = {k for s, k, _, _ in keys() if s == section}
        return f"unknown key {section}.{unknown}; {_suggest(unknown, known)}"
    return f"unknown section {unknown}; {_suggest(unknown, {s for s, _, _, _ in keys()})}"


def _suggest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1, 0.4)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
