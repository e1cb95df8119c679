"""Fetches address hints from a URL without letting the URL, or a hint, lead us where it should not.

Only https, or plain http to loopback; no redirects, no proxy of the environment, 256 KiB, 5 seconds; names are
resolved once and the address is pinned; private, link-local and metadata addresses are refused unless the
configuration allows them.
"""

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from meridian.errors import InvalidInput, RemoteFault
from meridian.node.ephemera.address_hints import is_private_host, is_public

BODY_BYTES_MAX: Final = 256 * 1024
TIMEOUT_S: Final = 5.0


def check_url(url: str, *, allow_private: bool) -> None:
    """Raise InvalidInput unless the URL may be fetched, as far as its text tells."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput("hints_url", str(error)) from error
    if parts.username is not None or not host:
        raise InvalidInput("hints_url", "a host is needed, and no user")
    loopback = _is_loopback(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise InvalidInput("hints_url", "https is needed, or http on loopback")
    if is_private_host(host) and not (loopback or allow_private):
        raise InvalidInput("hints_url", f"{host} is a private address")


async def fetch(url: str, *, allow_private: bool) -> bytes:
    """Return what the URL answers.

    Raises:
        InvalidInput: If the URL may not be fetched.
        RemoteFault: If it does not answer 200 with a short body in time, or leads to a private address.
    """
    check_url(url, allow_private=allow_private)
    host = urlsplit(url).hostname or ""
    resolver = PinnedResolver(allow_private=allow_private or _is_loopback(host))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=1) as connector,
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.get(
                url, allow_redirects=False, headers={"Accept": "application/json"}
            ) as answer,
        ):
            if answer.status != 200:
                raise RemoteFault(f"{url}: answers {answer.status}")
            body = b""
            async for part in answer.content.iter_chunked(16_384):
                body += part
                if len(body) > BODY_BYTES_MAX:
                    raise RemoteFault(f"{url}: answers more than {BODY_BYTES_MAX} bytes")
            return body
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RemoteFault(f"{url}: {str(error) or type(error).__name__}") from error


async def resolve_public(host: str, port: int, *, allow_private: bool) -> str:
    """Return one address of a host, as text; raises RemoteFault if there is none that may be dialled."""
    for found in await PinnedResolver(allow_private=allow_private).resolve(host, port):
        return found["host"]
    raise RemoteFault(f"{host}: no address")


class PinnedResolver(AbstractResolver):
    """Resolves names to the addresses that may be dialled; the connection goes to what was checked."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses; raises OSError if none is left."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
            if self._allow_private or is_public(ipaddress.ip_address(str(address[0])))
        ]
        if not results:
            raise OSError(f"{host} leads to private addresses only")
        return results

    async def close(self) -> None:
        """Nothing is held."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
