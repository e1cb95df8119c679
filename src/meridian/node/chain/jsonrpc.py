"""The JSON-RPC 2.0 envelope: one call or a bounded batch in, one answer or a list out.

The law: nothing that a client sends raises here; every fault of its own becomes an error object. Only a failure of our
own storage leaves, because then the process must not go on. The raw transactions of a batch are taken in one step, so
that a batch costs one write to disk.
"""

from typing import Any, Final

import msgspec

from meridian.errors import StorageFailure
from meridian.node.chain.methods import Methods
from meridian.node.chain.rpc import RpcError

BATCH_CALLS_MAX: Final = 1_000

BRACKETS_MAX: Final = 10_000
"""Opening brackets in a body: calls need few, and py-evm's recursion limit would let deep nesting end the process."""

PARSE_ERROR_CODE: Final = -32700
INVALID_REQUEST_CODE: Final = -32600
INTERNAL_ERROR_CODE: Final = -32603

_SEND = "eth_sendRawTransaction"


class _Request(msgspec.Struct, frozen=True):
    id: int | float | str | None
    method: str
    params: list[Any]


def answer(methods: Methods, body: bytes) -> bytes | None:
    """Return the answer to a request body as JSON; None when it holds notifications only.

    Raises:
        StorageFailure: If our own disk refused.
    """
    if body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        return msgspec.json.encode(_error(None, RpcError(INVALID_REQUEST_CODE, "nested too deep")))
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(_error(None, RpcError(PARSE_ERROR_CODE, "parse error")))
    if not isinstance(decoded, list):
        one = _answer_all(methods, [decoded])
        return msgspec.json.encode(one[0]) if one else None
    if not decoded or len(decoded) > BATCH_CALLS_MAX:
        reason = "empty batch" if not decoded else f"batch of more than {BATCH_CALLS_MAX} calls"
        return msgspec.json.encode(_error(None, RpcError(INVALID_REQUEST_CODE, reason)))
    answers = _answer_all(methods, decoded)
    return msgspec.json.encode(answers) if answers else None


def _answer_all(methods: Methods, calls: list[Any]) -> list[dict[str, Any]]:
    read = [_read(one) for one in calls]
    sends = [
        index
        for index, one in enumerate(read)
        if isinstance(one, _Request) and one.method == _SEND and len(one.params) == 1
    ]
    raws = [read[index].params[0] for index in sends]  # type: ignore[union-attr]
    sent = dict(zip(sends, methods.send_all(raws) if raws else [], strict=True))
    answers: list[dict[str, Any]] = []
    for index, one in enumerate(read):
        if not isinstance(one, _Request):
            answers.append(one)
            continue
        result = sent[index] if index in sent else _run(methods, one)
        if "id" in calls[index]:  # without an id it is a notification, and wants no answer
            answers.append(_shown(one.id, result))
    return answers


def _read(call: Any) -> _Request | dict[str, Any]:
    """Return the request, or the answer that says why it is none."""
    if not isinstance(call, dict):
        return _error(None, RpcError(INVALID_REQUEST_CODE, "the request is not an object"))
    request_id = call.get("id")
    known = type(request_id) in {int, float, str, type(None)}
    method, params = call.get("method"), call.get("params", [])
    if call.get("jsonrpc") != "2.0" or not isinstance(method, str) or not known:
        reason = "not a JSON-RPC 2.0 request"
        return _error(request_id if known else None, RpcError(INVALID_REQUEST_CODE, reason))
    if params is None:
        params = []
    if not isinstance(params, list):
        return _error(request_id, RpcError(-32602, "invalid params: params: not a list"))
    return _Request(request_id, method, params)


def _run(methods: Methods, request: _Request) -> Any:
    try:
        return methods.run(request.method, request.params)
    except RpcError as error:
        return error
    except StorageFailure:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours in one call must not take the others down
        return RpcError(INTERNAL_ERROR_CODE, f"internal error: {type(error).__name__}")


def _shown(request_id: Any, result: Any) -> dict[str, Any]:
    if isinstance(result, RpcError):
        return _error(request_id, result)
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def _error(request_id: Any, error: RpcError) -> dict[str, Any]:
    fault: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        fault["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": fault}
