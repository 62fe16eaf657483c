"""Alertmanager's API v2: silences."""

import uuid
from typing import Any, cast

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from alertmanager_bridge.api import matchers_of_request, read_json
from alertmanager_bridge.bridge import Bridge
from alertmanager_bridge.guard import failure
from alertmanager_bridge.silences import NoSuchSilenceError, Silence, SilenceError
from alertmanager_bridge.wire import format_millis, parse_time
from fleetpulse.matchers import Matcher, MatchOp

_OPS: dict[tuple[bool, bool], MatchOp] = {
    (False, True): "=",
    (False, False): "!=",
    (True, True): "=~",
    (True, False): "!~",
}


def read_silence(data: object) -> Silence:
    """A silence from its JSON. ValueError names the key that is wrong."""
    if not isinstance(data, dict):
        raise ValueError("the body must be a JSON object")
    matchers = data.get("matchers")
    if not isinstance(matchers, list):
        raise ValueError("matchers: write a list of matchers")
    texts = {key: data.get(key) for key in ("createdBy", "comment")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{key}: missing, or no text")
    return Silence(
        tuple(_matcher(index, item) for index, item in enumerate(matchers)),
        _time(data, "startsAt"),
        _time(data, "endsAt"),
        cast(str, texts["createdBy"]),
        cast(str, texts["comment"]),
        id=_id(data.get("id")),
    )


def _matcher(index: int, item: object) -> Matcher:
    if not isinstance(item, dict):
        raise ValueError(f"matchers[{index}]: must be an object")
    name, value = item.get("name"), item.get("value")
    if not isinstance(name, str) or not name or not isinstance(value, str):
        raise ValueError(f"matchers[{index}]: name and value must be texts")
    is_regex, is_equal = item.get("isRegex"), item.get("isEqual", True)
    if not isinstance(is_regex, bool) or not isinstance(is_equal, bool):
        raise ValueError(f"matchers[{index}]: isRegex and isEqual must be true or false")
    try:
        return Matcher(name, _OPS[is_regex, is_equal], value)
    except ValueError as err:
        raise ValueError(f"matchers[{index}]: {err}") from err


def _time(data: dict[str, Any], key: str) -> float:
    try:
        at = parse_time(data.get(key))
    except ValueError as err:
        raise ValueError(f"{key}: {err}") from err
    if at is None:
        raise ValueError(f"{key}: missing")
    return at


def _id(value: object) -> str:
    if not value:
        return ""
    try:
        return str(uuid.UUID(str(value)))
    except ValueError as err:
        raise ValueError(f"id: {value!r} is no silence id") from err


def silence_json(silence: Silence, now: float) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": silence.state(now)},
        "updatedAt": format_millis(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": format_millis(silence.ends_at),
        "matchers": [
            {
                "isEqual": matcher.op in ("=", "=~"),
                "isRegex": matcher.op in ("=~", "!~"),
                "name": matcher.name,
                "value": matcher.value,
            }
            for matcher in silence.matchers
        ],
        "startsAt": format_millis(silence.starts_at),
    }


def blueprint(bridge: Bridge) -> Blueprint:
    bp = Blueprint("silences", __name__)
    silences = bridge.silences

    @bp.get("/silences")
    def find() -> ResponseReturnValue:
        now = bridge.now()
        found = silences.find(matchers_of_request(), now)
        return jsonify([silence_json(silence, now) for silence in found])

    @bp.post("/silences")
    def post() -> ResponseReturnValue:
        return jsonify({"silenceID": silences.set(read_silence(read_json()), bridge.now())})

    @bp.get("/silence/<uuid:silence_id>")
    def get(silence_id: uuid.UUID) -> ResponseReturnValue:
        return jsonify(silence_json(silences.get(str(silence_id)), bridge.now()))

    @bp.delete("/silence/<uuid:silence_id>")
    def expire(silence_id: uuid.UUID) -> ResponseReturnValue:
        silences.expire(str(silence_id), bridge.now())
        return "", 200

    @bp.errorhandler(ValueError)
    @bp.errorhandler(SilenceError)
    def bad_request(err: Exception) -> ResponseReturnValue:
        return failure(str(err), 400)

    @bp.errorhandler(NoSuchSilenceError)
    def unknown(err: NoSuchSilenceError) -> ResponseReturnValue:
        return failure(str(err), 404)

    return bp
