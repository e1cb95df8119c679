"""The epoch log as the measure service itself serves it, under the names that it has in the publication.

Law: only names of tiles are looked for on the disk, with the media types and the times in caches that tlog-tiles asks for.
"""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from meridian.errors import NotFound
from meridian.node.measure.publication import Publication

_TILE: Final = (
    r"/log/{tile:tile/(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/(?:x[0-9]{3}/){0,6}[0-9]{3}"
    r"(?:\.p/[1-9][0-9]{0,2})?}"
)
_FOREVER: Final = "public, max-age=31536000, immutable"
_SECONDS: Final = "public, max-age=2"


class LogRoutes:
    """The handlers.

    Args:
        publication: Its ``log`` may not be there yet.
    """

    def __init__(self, publication: Publication) -> None:
        self._publication = publication

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the service's application."""
        app.add_routes(
            [web.get("/log/checkpoint", self.get_checkpoint), web.get(_TILE, self.get_tile)]
        )

    async def get_checkpoint(self, _request: web.Request) -> web.StreamResponse:
        """Return the signed checkpoint, with the cosignatures of witnesses."""
        return self._file("checkpoint", "text/plain; charset=utf-8", _SECONDS)

    async def get_tile(self, request: web.Request) -> web.StreamResponse:
        """Return a tile of hashes or a bundle of entries."""
        return self._file(request.match_info["tile"], "application/octet-stream", _FOREVER)

    def _file(self, name: str, kind: str, cached: str) -> web.StreamResponse:
        path = self._publication.root / "log" / name
        if not path.is_file():
            raise NotFound("the log has no such tile")
        return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": cached})


def operations(operation: Callable[..., Any], path: Callable[[str], Any]) -> Any:
    """Return the description of these routes for `openapi`."""
    answers = {"200": "Its bytes", "404": "There is none"}
    return {
        "/log/checkpoint": {"get": operation("The epoch log's signed checkpoint", answers)},
        "/log/{tile}": {
            "get": operation(
                "A tile or bundle of the epoch log", answers, parameters=(path("tile"),)
            )
        },
    }
