"""The description of the HTTP interface, as OpenAPI 3.1; a test compares it with the routes."""

from typing import Any

from meridian.measure.batch_decode import BodyKind
from meridian.measure.batch_signature import (
    NODE_HEADER,
    SEED_HEADER,
    SENT_AT_HEADER,
    SIGNATURE_HEADER,
)
from meridian.measure.record import RECORDS_MAX
from meridian.node.measure import log_routes, proof_routes
from meridian.node.measure.bodies import CONTENT_ENCODINGS, CONTENT_TYPES

_EPOCH = {"name": "epoch", "in": "path", "required": True, "schema": {"type": "integer"}}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _operation(
    summary: str,
    responses: dict[str, str],
    *,
    parameters: tuple[Any, ...] = (),
    secured: bool = False,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {status: {"description": text} for status, text in responses.items()},
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if secured:
        operation["security"] = [{"bearer": []}]
        operation["responses"]["401"] = {"description": "No valid bearer token"}
    if parameters or secured:
        operation["responses"].setdefault("400", {"description": "A malformed path, query or body"})
    return operation


_FIELD = {
    "type": "object",
    "required": ["name", "type", "value"],
    "properties": {
        "name": {"type": "string"},
        "type": {"enum": ["int", "in", "integer", "decimal", "boolean", "string"]},
        "value": {"type": ["integer", "number", "boolean", "string", "null"]},
    },
    "additionalProperties": False,
}

_RECORD = {
    "type": "object",
    "description": "A job in the seed's data model; times like '2023-05-01 00:52:57.62+00' or RFC 3339, with an offset.",
    "required": [
        "job_id",
        "peer_id",
        "started_at",
        "ended_at",
        "evaluation_fields",
        "additional_fields",
    ],
    "properties": {
        "job_id": {"type": "string", "minLength": 1, "maxLength": 128},
        "peer_id": {"type": "string", "minLength": 1, "maxLength": 128},
        "started_at": {"type": "string"},
        "ended_at": {"type": "string"},
        "evaluation_fields": {"type": "array", "items": _FIELD},
        "additional_fields": {"type": "array", "items": _FIELD},
    },
    "additionalProperties": False,
}


def _jobs() -> dict[str, Any]:
    operation = _operation(
        "Submit a batch of job records",
        {
            "200": "What became of every record, and a signed receipt for the accepted ones",
            "400": "The body as a whole is not a batch, or a header is malformed",
            "401": "Neither a valid bearer token nor a signature of the node's operator",
            "408": "The body came too slowly",
            "413": f"More than 64 MiB, 256 MiB decompressed, or {RECORDS_MAX} records",
            "415": "A form or compression that is not accepted",
            "417": "Another expectation than 100-continue",
            "429": "The sender has sent too much, or too much is in work; see Retry-After",
            "503": "The service cannot promise anything now",
        },
        parameters=(
            _header(
                SEED_HEADER,
                "32 bytes of hex that salt the private fields; whoever keeps them can rebuild every row. "
                "A signed batch needs it",
                "^[0-9a-fA-F]{64}$",
            ),
            _header(NODE_HEADER, "Of a signed batch: the node, percent-encoded", "^.+$"),
            _header(SENT_AT_HEADER, "Of a signed batch: Unix microseconds", "^[0-9]{1,18}$"),
            _header(
                SIGNATURE_HEADER,
                "The operator's signature of `JobBatch`",
                "^(0x)?[0-9a-fA-F]{128}$",
            ),
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"enum": ["identity", *CONTENT_ENCODINGS]},
            },
        ),
    )
    operation["security"] = [{"bearer": []}, {"signature": []}]
    record = {"$ref": "#/components/schemas/Record"}
    many = {"type": "array", "items": record, "maxItems": RECORDS_MAX}
    schemas: dict[BodyKind, dict[str, Any]] = {
        BodyKind.NDJSON: record,
        BodyKind.JSON: {"oneOf": [record, many]},
    }
    operation["requestBody"] = {
        "required": True,
        "content": {
            name: {"schema": schemas.get(kind, {"type": "string", "format": "binary"})}
            for name, kind in CONTENT_TYPES.items()
        },
    }
    return operation


def _header(name: str, description: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "description": description, "schema": schema}


def document() -> dict[str, Any]:
    """Return the whole description."""
    gone = {"404": "Not known here"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meridian measure", "version": "1"},
        "paths": {
            "/v1/jobs": {"post": _jobs()},
            "/v1/epochs": {"get": _operation("The latest epochs", {"200": "Epochs and the clock"})},
            "/v1/epochs/{epoch}": {
                "get": _operation(
                    "One epoch", {"200": "State, counts, manifest"} | gone, parameters=(_EPOCH,)
                )
            },
            "/v1/epochs/{epoch}/seal": {
                "post": _operation(
                    "Seal an epoch that has ended; again changes nothing",
                    {
                        "200": "Committed",
                        "202": "Sealed",
                        "409": "Not ended, or not the next epoch",
                    },
                    parameters=(_EPOCH,),
                    secured=True,
                )
            },
            "/v1/epochs/{epoch}/inputs/{name}": {
                "put": _operation(
                    "Publish an auxiliary input of the evaluation",
                    {"200": "Its digest", "409": "The epoch is sealed"},
                    parameters=(_EPOCH, _path("name")),
                    secured=True,
                )
            },
            "/v1/clock": {
                "post": _operation(
                    "Set the ingest clock forward (replay only)",
                    {"200": "Where it stands; it never goes back", "409": "It is the wall clock"},
                    secured=True,
                )
            },
            "/v1/artefacts/{cid}": {
                "get": _operation(
                    "Published bytes", {"200": "The bytes"} | gone, parameters=(_path("cid"),)
                )
            },
            "/v1/receipts/{batch}": {
                "get": _operation(
                    "The answer that a batch got",
                    {"200": "As it was given"} | gone,
                    parameters=(_path("batch"),),
                )
            },
            **proof_routes.operations(_operation, _path, _EPOCH),
            **log_routes.operations(_operation, _path),
            "/healthz": {
                "get": _operation("Whether jobs are admitted", {"200": "Yes", "503": "No"})
            },
            "/readyz": {
                "get": _operation("Whether jobs are taken now", {"200": "Yes", "503": "No"})
            },
            "/metrics": {"get": _operation("Prometheus metrics", {"200": "Their text"})},
            "/state": {"get": _operation("What `meridian status` shows", {"200": "An object"})},
            "/v1/openapi.json": {"get": _operation("This document", {"200": "OpenAPI 3.1"})},
        },
        "components": {
            "schemas": {"Record": _RECORD},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "signature": {"type": "apiKey", "in": "header", "name": SIGNATURE_HEADER},
            },
        },
    }
