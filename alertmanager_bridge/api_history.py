"""GET /api/v1/history: what happened to alerts and to messages, newest first."""

from typing import Any, cast

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from alertmanager_bridge.bridge import Bridge
from alertmanager_bridge.guard import failure
from alertmanager_bridge.history import HistoryQuery, HistoryRow, HistoryType
from alertmanager_bridge.wire import format_time, parse_time

_MOST = 1000
_KEYS = ("type", "from", "to", "limit", "cursor", "receiver", "alertname", "event")


def read_query() -> HistoryQuery:
    """The request's parameters. ValueError names the one that is wrong."""
    unknown = set(request.args) - set(_KEYS)
    if unknown:
        raise ValueError(f"no such parameter: {min(unknown)}; known: {', '.join(_KEYS)}")
    kind = request.args.get("type")
    if kind not in (None, "alert", "notification"):
        raise ValueError(f"type: {kind!r} is neither alert nor notification")
    limit = _number("limit", 100) or 0
    if not 1 <= limit <= _MOST:
        raise ValueError(f"limit: write a number from 1 to {_MOST}")
    return HistoryQuery(
        type=cast("HistoryType | None", kind),
        from_at=_time("from"),
        to_at=_time("to"),
        receiver=request.args.get("receiver", ""),
        alertname=request.args.get("alertname", ""),
        event=request.args.get("event", ""),
        before=_number("cursor", None),
        limit=limit,
    )


def _number(key: str, default: int | None) -> int | None:
    text = request.args.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError(f"{key}: {text!r} is no whole number")
    return int(text)


def _time(key: str) -> float | None:
    """A Unix time or RFC 3339."""
    text = request.args.get(key)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        # A plus sign in a URL that was not escaped arrives as a blank.
        return parse_time(text.replace(" ", "+") if len(text) > 20 else text)
    if not abs(seconds) < 1e11:
        raise ValueError(f"{key}: {text!r} is no Unix time in seconds")
    return seconds


def row_json(row: HistoryRow) -> dict[str, Any]:
    detail = dict(row.detail)
    for key in ("startsAt", "endsAt"):
        if isinstance(detail.get(key), (int, float)):
            detail[key] = format_time(detail[key])
    return {
        "id": row.id,
        "time": format_time(row.at),
        "type": row.type,
        "event": row.event,
        "receiver": row.receiver,
        "alertname": row.alertname,
        **detail,
    }


def blueprint(bridge: Bridge) -> Blueprint:
    bp = Blueprint("history", __name__)

    @bp.get("/history")
    def find() -> ResponseReturnValue:
        rows, cursor = bridge.history.find(read_query())
        found = [row_json(row) for row in rows]
        return jsonify({"status": "success", "data": found, "next_cursor": cursor})

    @bp.errorhandler(ValueError)
    def bad_request(err: ValueError) -> ResponseReturnValue:
        return failure(str(err), 400)

    return bp
