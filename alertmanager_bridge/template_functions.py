"""The functions that Alertmanager adds to Go's in the templates of a message."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from alertmanager_bridge.template_values import Pair, Record
from fleetpulse.gotemplate import texts
from fleetpulse.gotemplate.functions import GO_FUNCTIONS, TEXT_FUNCTIONS
from fleetpulse.gotemplate.printing import MAX_TEXT
from fleetpulse.gotemplate.times import GoTime, format_time, moment
from fleetpulse.gotemplate.values import GoFunction, anything, string, strings, table

# JSON within a page of HTML must not end a tag; Go writes it so everywhere.
_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def _join(separator: str, parts: Sequence[str]) -> str:
    if len(separator) * len(parts) > MAX_TEXT:
        raise ValueError("the joined text is too long")
    return separator.join(parts)


def _to_json(value: Any) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_JSON_ESCAPES)


def _plain(value: Any) -> Any:
    """The value in plain lists and dicts, with the keys that the webhook's JSON has too."""
    if isinstance(value, Record):
        return {_key(value, name): _plain(item) for name, item in value.fields.items()}
    if isinstance(value, Mapping):
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _time(value.at) if isinstance(value, GoTime) else value


def _key(record: Record, name: str) -> str:
    return name if isinstance(record, Pair) else name[0].lower() + name[1:]


def _time(at: datetime) -> str:
    return format_time(at, "2006-01-02T15:04:05.999999999Z07:00")


FUNCTIONS: Mapping[str, GoFunction] = {
    **GO_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **table(
        GoFunction("title", (string,), texts.title_only),
        GoFunction("trimSpace", (string,), str.strip),
        GoFunction("join", (string, strings), _join),
        # It stays to be escaped: only its protocol is vouched for.
        GoFunction("safeUrl", (string,), str),
        GoFunction("stringSlice", (), lambda *values: list(values), string),
        GoFunction("toJson", (anything,), _to_json),
        GoFunction("date", (string, moment), lambda layout, at: format_time(at, layout)),
    ),
}
