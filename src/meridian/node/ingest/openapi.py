"""The description of the HTTP interface, for tools: OpenAPI 3.1."""

from typing import Any, Final

_ERROR: Final = {"$ref": "#/components/schemas/Error"}
_EPOCH: Final = {
    "name": "epoch", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0},
}  # fmt: skip
_MEANINGS: Final = {
    400: "The body, a header or a name cannot be read",
    401: "The bearer token is missing or wrong",
    404: "There is no such thing here",
    409: "It does not fit the state of the epoch or the clock",
    413: "Too long, or too many records",
    415: "Another Content-Type is needed",
    429: "Too many requests at a time; see Retry-After",
    503: "Not now; see Retry-After",
}


def _answers(schema: dict[str, Any] | None, *refusals: int) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}} if schema else {"application/octet-stream": {}}
    found: dict[str, Any] = {"200": {"description": "Done", "content": content}}
    for status in refusals:
        found[str(status)] = {
            "description": _MEANINGS[status],
            "content": {"application/json": {"schema": _ERROR}},
        }
    return found


def _operation(
    summary: str, answers: dict[str, Any], *, bearer: str | None = None, **more: Any
) -> dict[str, Any]:
    security: dict[str, Any] = {"security": [{bearer: []}]} if bearer else {}
    return {"summary": summary, "responses": answers} | security | more


def _path_text(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _schemas() -> dict[str, Any]:
    text, whole = {"type": "string"}, {"type": "integer"}
    field = {
        "type": "object",
        "required": ["name", "type", "value"],
        "properties": {"name": text, "type": text, "value": {}},
    }
    fields = {"type": "array", "items": field}
    record = {
        "job_id": text,
        "peer_id": text,
        "started_at": text | {"examples": ["2023-05-01 00:52:57.62+00"]},
        "ended_at": text,
        "evaluation_fields": fields,
        "additional_fields": fields,
    }
    rejection = {
        "index": whole, "line": {"type": ["integer", "null"]}, "job_id": {"type": ["string", "null"]},
        "field": text, "reason": text, "message": text,
    }  # fmt: skip
    receipt = {
        "network": text, "deadline_epoch": whole, "aggregator": text, "sequence": whole,
        "batch_root": text, "received_at_us": whole, "chain_id": whole, "contract": text,
        "signature": text,
    }  # fmt: skip
    return {
        "Record": {"type": "object", "required": list(record), "properties": record},
        "Receipt": {"type": ["object", "null"], "properties": receipt},
        "Answer": {
            "type": "object",
            "properties": {
                "batch": text,
                "accepted": whole,
                "duplicates": whole,
                "rejected": {"type": "array", "items": {"type": "object", "properties": rejection}},
                "receipt": {"$ref": "#/components/schemas/Receipt"},
            },
        },
        "Epoch": {
            "type": "object",
            "properties": {
                "epoch": whole,
                "state": {"enum": ["open", "sealed", "committed"]},
                "jobs": whole,
                "duplicates": whole,
                "manifest": text,
                "root": text,
                "n_nodes": whole,
                "tx": text,
            },
        },
        "Error": {
            "type": "object",
            "properties": {
                "error": {"type": "object", "properties": {"field": text, "message": text}}
            },
        },
    }


def _jobs_operation(body_bytes_max: int) -> dict[str, Any]:
    record = {"$ref": "#/components/schemas/Record"}
    return _operation(
        "Submit a batch of 1..100,000 records; the same body and seed again get the same answer",
        _answers({"$ref": "#/components/schemas/Answer"}, 400, 401, 413, 415, 429, 503),
        bearer="gateway",
        description=f"At most {body_bytes_max} bytes. An answer comes after the jobs are durable.",
        parameters=[
            {
                "name": "Meridian-Batch-Seed",
                "in": "header",
                "description": "64 hex digits that hide private fields; SHA-256 of the body if absent",
                "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
            }
        ],
        requestBody={
            "required": True,
            "content": {
                "application/x-ndjson": {"schema": record},
                "application/json": {"schema": {"type": "array", "items": record}},
            },
        },
    )


def document(body_bytes_max: int) -> dict[str, Any]:
    """Return the OpenAPI document of a service that takes bodies up to `body_bytes_max`."""
    epoch = {"$ref": "#/components/schemas/Epoch"}
    anything = {"type": "object"}
    scheme = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meridian measure service", "version": "1"},
        "paths": {
            "/v1/jobs": {"post": _jobs_operation(body_bytes_max)},
            "/v1/epochs": {
                "get": _operation("List epochs (query: from, limit)", _answers(anything, 400))
            },
            "/v1/epochs/{epoch}": {
                "parameters": [_EPOCH],
                "get": _operation("Tell the state of an epoch", _answers(epoch, 400, 404)),
            },
            "/v1/epochs/{epoch}/seal": {
                "parameters": [_EPOCH],
                "post": _operation(
                    "Seal an epoch that is over; again: the same answer",
                    _answers(epoch, 400, 401, 404, 409, 429, 503),
                    bearer="admin",
                ),
            },
            "/v1/epochs/{epoch}/inputs/{name}": {
                "parameters": [_EPOCH, _path_text("name")],
                "put": _operation(
                    "Give an auxiliary input of an epoch that is not sealed",
                    _answers(anything, 400, 401, 404, 409, 413, 429),
                    bearer="admin",
                    requestBody={"required": True, "content": {"application/octet-stream": {}}},
                ),
            },
            "/v1/clock": {
                "post": _operation(
                    'Move the clock of a replay forward: {"now_us": microseconds}',
                    _answers(anything, 400, 401, 409, 413),
                    bearer="admin",
                )
            },
            "/v1/artefacts/{cid}": {
                "parameters": [_path_text("cid")],
                "get": _operation("Fetch a published artefact", _answers(None, 400, 404)),
            },
            "/v1/receipts/{batch}": {
                "parameters": [_path_text("batch")],
                "get": _operation("Fetch the receipt of a batch", _answers(anything, 400, 404)),
            },
            "/v1/log/checkpoint": {"get": _operation("The epoch log's signed note", _answers(None))},
            "/v1/log/entries": {
                "get": _operation("The epoch log's entries, each behind its u16 length", _answers(None))
            },
            "/v1/openapi.json": {"get": _operation("This document", _answers(anything))},
            "/healthz": {"get": _operation("Tell that the service lives", _answers(anything))},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"gateway": scheme, "admin": scheme},
        },
    }
