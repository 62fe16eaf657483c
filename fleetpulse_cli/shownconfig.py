"""The configuration in force as YAML: with its defaults, without its secrets."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from fleetpulse.records import keys_of
from fleetpulse.values import ListenAddress, duration, format_duration

SECRET = "<secret>"  # noqa: S105 - what is shown in place of one
# The user and password in a URL. Most keys refuse them; in those that do not they are a secret.
_USER_INFO = re.compile(r"(?<=://)[^/?#@\s]+@")


def as_yaml(root: BaseModel) -> str:
    """The whole file as it would have to be written to say all of what is in force."""
    return yaml.safe_dump(_shown(root), sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> Any:
    """What YAML can hold of a value: a model, a record, or anything in them."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        records = {name: getattr(value, name) for name in fields}
        records = {name: one for name, one in records.items() if _is_record(one)}
        dumped = value.model_dump(by_alias=True, exclude_none=True, exclude=set(records))
        return {**_shown(dumped), **{name: _record(one) for name, one in records.items()}}
    if hasattr(value, "get_secret_value"):
        return SECRET
    if isinstance(value, Mapping):
        return {_shown(name): _shown(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_shown(one) for one in value]
    if isinstance(value, str):
        return _USER_INFO.sub(f"{SECRET}@", value)
    if isinstance(value, (Path, ListenAddress, re.Pattern)):
        return str(getattr(value, "pattern", value))
    if _is_record(value):
        return _record(value)
    return value if isinstance(value, (bool, int, float, type(None))) else str(value)


def _is_record(value: object) -> bool:
    return (
        dataclasses.is_dataclass(value)
        and not isinstance(value, (type, ListenAddress))
        and all("key" in field.metadata for field in dataclasses.fields(value))
    )


def _record(record: Any) -> dict[str, Any]:
    shown = {}
    for name, key in keys_of(type(record)).items():
        value = getattr(record, name)
        if value is not None:
            shown[name] = format_duration(value) if key.read is duration else _shown(value)
    return shown
