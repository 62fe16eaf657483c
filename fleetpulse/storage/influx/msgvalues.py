"""Single values in MessagePack, as Python objects.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import struct
from typing import Any

from fleetpulse.storage.influx.answer import AnswerError, Source

_MOST_NESTED = 16
_LONGEST_TEXT = 1 << 24
# By first byte: how numbers are read; how many bytes hold the length of texts and bytes, of lists,
# and of mappings.
NUMBERS = {
    0xCA: ">f4", 0xCB: ">f8", 0xCC: ">u1", 0xCD: ">u2", 0xCE: ">u4", 0xCF: ">u8",
    0xD0: ">i1", 0xD1: ">i2", 0xD2: ">i4", 0xD3: ">i8",
}  # fmt: skip
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
_CONSTANTS: dict[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}


def value(source: Source, nested: int = 0) -> Any:
    """Whatever comes next."""
    kind = source.look()
    if 0xA0 <= kind < 0xC0:  # a short text, as most are
        begin = source.at + 1
        source.at = end = begin + (kind & 0x1F)
        if end <= len(source.held):
            return source.held[begin:end].decode("utf-8", "replace")
        source.at = begin - 1
    if 0xA0 <= kind < 0xC0 or kind in _TEXTS:
        return _text(source)
    if nested > _MOST_NESTED:
        raise AnswerError("nested too deeply")
    if kind & 0xF0 == 0x80 or kind in _MAPS:
        found: dict[str, Any] = {}
        for _ in range(length_of_map(source)):
            key = str(value(source, nested + 1))
            found[key] = value(source, nested + 1)
        return found
    if kind & 0xF0 == 0x90 or kind in _LISTS:
        return [value(source, nested + 1) for _ in range(length_of_list(source))]
    source.at += 1
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind < 0x80:
        return kind
    if kind >= 0xE0:
        return kind - 0x100
    return _number(source, kind)


def length_of_map(source: Source) -> int:
    first = source.take(1)[0]
    if first & 0xF0 == 0x80:
        return first & 0x0F
    if first in _MAPS:
        return int.from_bytes(source.take(_MAPS[first]), "big")
    raise AnswerError("no map where one should be")


def length_of_list(source: Source) -> int:
    first = source.take(1)[0]
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first in _LISTS:
        return int.from_bytes(source.take(_LISTS[first]), "big")
    raise AnswerError("no list where one should be")


def _text(source: Source) -> str:
    kind = source.take(1)[0]
    size = int.from_bytes(source.take(_TEXTS[kind]), "big") if kind in _TEXTS else kind & 0x1F
    if size > _LONGEST_TEXT:
        raise AnswerError("a text that is too long")
    return source.take(size).decode("utf-8", "replace")


def _number(source: Source, kind: int) -> int | float:
    how = NUMBERS.get(kind)
    if how is None:
        raise AnswerError(f"a value of kind 0x{kind:02x}, which is not known here")
    digits = source.take(int(how[2]))
    if how[1] == "f":
        found: float = struct.unpack(">f" if len(digits) == 4 else ">d", digits)[0]
        return found
    return int.from_bytes(digits, "big", signed=how[1] == "i")
