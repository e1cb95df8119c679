"""The description of the HTTP interface as OpenAPI 3.1, made from the table of routes."""

from typing import Any

import msgspec

from meridian import __version__
from meridian.node.ephemera.api_documents import (
    ErrorDocument,
    HealthDocument,
)
from meridian.node.ephemera.api_routes import EVERYWHERE, ROUTES, Route


def openapi() -> dict[str, Any]:
    """Return the description of the interface."""
    kinds = [r.answer for r in ROUTES] + [r.request for r in ROUTES] + [ErrorDocument]
    known = [kind for kind in kinds if kind is not None]
    _, schemas = msgspec.json.schema_components(known, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meridian Ephemera", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    responses = {
        str(status): {
            "description": text,
            "content": _json(HealthDocument if _is_health(route, status) else ErrorDocument),
        }
        for status, text in {**EVERYWHERE, **route.refusals}.items()
    }
    for status in ("101", "304"):
        if status in responses:
            del responses[status]["content"]
    if 101 not in route.refusals:
        responses["200"] = {"description": route.summary}
        if route.answer is not None:
            responses["200"]["content"] = _json(route.answer)
    operation: dict[str, Any] = {
        "operationId": route.handler,
        "summary": route.summary,
        "responses": dict(sorted(responses.items())),
    }
    if route.parameters:
        operation["parameters"] = [
            {
                "name": p.name,
                "in": p.place,
                "required": p.place == "path",
                "description": p.description,
                "schema": {"type": p.kind},
            }
            for p in route.parameters
        ]
    if route.request is not None:
        operation["requestBody"] = {"required": True, "content": _json(route.request)}
    if route.secured:
        operation["security"] = [{"bearer": []}]
    return operation


def _is_health(route: Route, status: int) -> bool:
    return route.answer is HealthDocument and status == 503


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
