"""What a Nym-Api asks the contract, and the contract's clock as the Nym-Api keeps it."""

import asyncio
import time
from typing import Any, Final, Self

import aiohttp
import msgspec

from meridian.errors import NotFound, RemoteFault
from meridian.measure.epoch import Calendar
from meridian.nym.rewards import Submission
from meridian.nym.wire import BODY_BYTES_MAX, decode_submission, encode_submission

TIMEOUT_S: Final = 5.0

ACCEPTED: Final = 200
SETTLED_BEFORE: Final = 409
TOO_EARLY: Final = 425
MISSING: Final = 404
UNAVAILABLE: Final = 503


class ContractClient:
    """Talks to one contract.

    Args:
        url: ``http://host:port``.
        network: The 32 bytes of the network.
        mixnodes: How many there are.
    """

    def __init__(self, url: str, network: bytes, mixnodes: int) -> None:
        self._url = url
        self._network = network
        self._mixnodes = mixnodes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        assert self._session is not None, "the client is used as a context"
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers
            ) as response:
                if (response.content_length or 0) > BODY_BYTES_MAX:
                    raise RemoteFault(f"contract: {path}: the answer is too long")
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RemoteFault(f"contract: {path}: {error!r}") from error

    async def epoch(self) -> dict[str, int]:
        """Return the epoch that the contract is in, and its clock; raises RemoteFault."""
        status, answer = await self._ask("GET", "/contract/epoch")
        names = ("epoch_id", "start_time", "duration", "genesis", "now_ms")
        if status != ACCEPTED or not all(isinstance(answer.get(name), int) for name in names):
            raise RemoteFault(f"contract: /contract/epoch answered {status}: {answer}")
        return {name: answer[name] for name in names}

    async def settled(self, first: int) -> list[int]:
        """Return settled epochs from `first` on; raises RemoteFault."""
        status, answer = await self._ask("GET", f"/contract/rewards?from={first}")
        if status != ACCEPTED:
            raise RemoteFault(f"contract: /contract/rewards answered {status}: {answer}")
        return [int(epoch) for epoch in answer["epochs"]]

    async def rewards(self, epoch: int) -> Submission:
        """Return what was accepted for an epoch.

        Raises:
            NotFound: If nothing is yet.
            RemoteFault: If the contract cannot be reached.
            InvalidInput: If its answer is malformed.
        """
        status, answer = await self._ask("GET", f"/contract/rewards/{epoch}")
        if status == MISSING:
            raise NotFound(f"epoch {epoch} has no accepted result")
        if status != ACCEPTED:
            raise RemoteFault(f"contract: /contract/rewards/{epoch} answered {status}: {answer}")
        body = msgspec.json.encode(answer.get("submission"))
        return decode_submission(body, network=self._network, mixnodes=self._mixnodes)

    async def submit(self, submission: Submission) -> tuple[int, str]:
        """Send a submission; return status and reason.

        Raises:
            RemoteFault: If the contract cannot be reached.
        """
        status, answer = await self._ask(
            "POST", "/contract/submit_rewards", encode_submission(self._network, submission)
        )
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        return status, f"{error.get('field')}: {error.get('reason')}" if error else ""


class ContractClock:
    """The contract's clock and calendar, followed from here: asked for again and again, and run on in between.

    It runs on this process' monotonic clock, so that a jump of the wall clock here moves no epoch.
    """

    def __init__(self, client: ContractClient) -> None:
        self._client = client
        self._ahead_ms = 0
        self._calendar: Calendar | None = None

    @property
    def calendar(self) -> Calendar:
        """The epochs; known after the first `sync`."""
        assert self._calendar is not None, "the clock has not been set"
        return self._calendar

    async def sync(self) -> None:
        """Ask the contract where it stands.

        Raises:
            RemoteFault: If it cannot be reached, or has another calendar than before.
        """
        before_ms = _monotonic_ms()
        answer = await self._client.epoch()
        after_ms = _monotonic_ms()
        calendar = Calendar(answer["genesis"], answer["duration"])
        if self._calendar not in {None, calendar}:
            raise RemoteFault(f"contract: its calendar was {self._calendar} and is {calendar}")
        self._calendar = calendar
        self._ahead_ms = answer["now_ms"] - (before_ms + after_ms) // 2

    async def first_sync(self, retry_s: float) -> None:
        """Wait for the contract: a Nym-Api may be started before it."""
        while True:
            try:
                await self.sync()
            except RemoteFault:
                await asyncio.sleep(retry_s)
            else:
                return

    def now_ms(self) -> int:
        """Return the contract's time in Unix milliseconds."""
        return _monotonic_ms() + self._ahead_ms

    @property
    def is_set(self) -> bool:
        """Whether the contract has answered yet."""
        return self._calendar is not None

    def epoch(self) -> int:
        """Return the current epoch; below 0 before the first."""
        return self.calendar.epoch_of(self.now_ms() * 1000)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
