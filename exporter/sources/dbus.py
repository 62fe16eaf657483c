"""Messages of D-Bus: calls with strings as arguments are written, any answer is read.

Not by a library: the one in Python takes 2.7 MB of memory, this a tenth, and the format has not
changed since 2006.

https://dbus.freedesktop.org/doc/dbus-specification.html
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

CALL, RETURN, ERROR = 1, 2, 3
HEAD = 16  # bytes that tell how long a message is
MOST = 16 << 20  # bytes of a message; a list of 30,000 units has less
_DEPTH = 16  # of arrays, structures and variants within each other

_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_TO, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_HEADER = "a(yv)"
_FORMS = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d",
          "b": "I", "h": "I"}  # fmt: skip
_NUMBERS = {order: {code: struct.Struct(order + form) for code, form in _FORMS.items()}
            for order in "<>"}  # fmt: skip
_ALIGNMENTS = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}


@dataclass(frozen=True, slots=True)
class Message:
    """body: bytes that follow signature; order: of the bytes of a number, as struct has it."""

    kind: int
    reply_to: int
    error: str
    signature: str
    body: bytes
    order: str

    def values(self) -> list[Any]:
        """ValueError where the body is not what its signature says."""
        reader = _Reader(self.body, self.order)
        return [reader.value(one) for one in _elements(self.signature)]


@lru_cache(maxsize=4096)
def call(path: str, interface: str, member: str, destination: str, *arguments: str) -> bytes:
    """A message that stamped() makes ready to be sent. No destination: no bus is in between."""
    body = b""
    for argument in arguments:
        body += b"\0" * (-len(body) % 4) + _string(argument)
    fields = b""
    for code, kind, value in _fields(path, interface, member, destination, len(arguments)):
        fields += b"\0" * (-len(fields) % 8) + bytes((code, 1)) + kind + b"\0" + value
    head = b"l" + bytes((CALL, 0, 1)) + struct.pack("<III", len(body), 0, len(fields))
    return head + fields + b"\0" * (-len(fields) % 8) + body


def _fields(
    path: str, interface: str, member: str, destination: str, arguments: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """What the header of a call tells: code, type, value."""
    yield _PATH, b"o", _string(path)
    yield _INTERFACE, b"s", _string(interface)
    yield _MEMBER, b"s", _string(member)
    if destination:
        yield _DESTINATION, b"s", _string(destination)
    if arguments:
        yield _SIGNATURE, b"g", bytes((arguments,)) + b"s" * arguments + b"\0"


def stamped(message: bytes, serial: int) -> bytes:
    """The message with its number, by which it is answered."""
    return message[:8] + struct.pack("<I", serial) + message[12:]


def _string(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw + b"\0"


def length_of(head: bytes) -> int:
    """How long the message is that begins so; head has HEAD bytes."""
    order = _order(head)
    body, _, fields = struct.unpack(f"{order}III", head[4:HEAD])
    length: int = HEAD + fields + -fields % 8 + body
    if length > MOST:
        raise ValueError(f"D-Bus: a message of {length} bytes is too long")
    return length


def parse(raw: bytes) -> Message:
    """A whole message. ValueError where it is none."""
    if len(raw) < HEAD or length_of(raw[:HEAD]) != len(raw):
        raise ValueError("D-Bus: not a whole message")
    order = _order(raw)
    reader = _Reader(raw, order, 12)
    fields = dict(reader.value(_HEADER))
    start = reader.position + -reader.position % 8
    reply_to, signature = fields.get(_REPLY_TO, 0), fields.get(_SIGNATURE, "")
    error = fields.get(_ERROR_NAME, "")
    if not (isinstance(reply_to, int) and isinstance(signature, str) and isinstance(error, str)):
        raise ValueError("D-Bus: a field of the header has the wrong type")
    return Message(raw[1], reply_to, error, signature, raw[start:], order)


def _order(head: bytes) -> str:
    if head[:1] not in (b"l", b"B") or head[3] != 1:
        raise ValueError(f"D-Bus: not the beginning of a message: {head[:4]!r}")
    return "<" if head[:1] == b"l" else ">"


@lru_cache(maxsize=256)
def _elements(signature: str) -> tuple[str, ...]:
    """`a{sv}us` → `a{sv}`, `u`, `s`."""
    return tuple(_split(signature))


def _split(signature: str) -> Iterator[str]:
    start = 0
    while start < len(signature):
        end = _end(signature, start)
        yield signature[start:end]
        start = end


def _end(signature: str, start: int) -> int:
    """Where the type ends that begins at start."""
    place, nested = start, 0
    while place < len(signature):
        kind = signature[place]
        place += 1
        nested += (kind in "({") - (kind in ")}")
        if nested < 0:
            break
        if nested == 0 and kind != "a":
            return place
    raise ValueError(f"D-Bus: not a signature: {signature[:80]!r}")


class _Reader:
    """Takes values from bytes, in the order of their signature."""

    def __init__(self, raw: bytes, order: str, position: int = 0) -> None:
        self._raw, self._numbers, self.position = raw, _NUMBERS[order], position
        self._nested = 0

    def value(self, kind: str) -> Any:
        """The next value, of one type."""
        code = kind[0]
        if code in "so":
            return self._text(self._number("u"))
        if code in _FORMS:
            number = self._number(code)
            return bool(number) if code == "b" else number
        if code == "g":
            return self._text(self._number("y"))
        return self._within(kind)

    def _within(self, kind: str) -> Any:
        self._nested += 1
        if self._nested > _DEPTH:
            raise ValueError("D-Bus: values are nested too deep")
        if kind[0] == "a":
            value: Any = self._array(kind[1:])
        elif kind[0] in "({":
            value = self._structure(kind[1:-1])
        elif kind == "v":
            value = self._variant()
        else:
            raise ValueError(f"D-Bus: no such type: {kind[:80]!r}")
        self._nested -= 1
        return value

    def _structure(self, kinds: str) -> tuple[Any, ...]:
        if not kinds:
            raise ValueError("D-Bus: an empty structure")
        self._align(8)
        return tuple([self.value(one) for one in _elements(kinds)])

    def _variant(self) -> Any:
        kinds = _elements(self._text(self._number("y")))
        if len(kinds) != 1:
            raise ValueError("D-Bus: a variant of several types")
        return self.value(kinds[0])

    def _array(self, kind: str) -> list[Any]:
        length = self._number("u")
        self._align(_ALIGNMENTS.get(kind[0], 4))
        end = self.position + length
        if end > len(self._raw):
            raise ValueError("D-Bus: an array beyond its message")
        values = []
        while self.position < end:
            values.append(self.value(kind))
        if self.position != end:
            raise ValueError("D-Bus: an array that ends within a value")
        return values

    def _align(self, to: int) -> None:
        self.position += -self.position % to

    def _number(self, code: str) -> Any:
        form = self._numbers[code]
        position = self.position + -self.position % form.size
        try:
            (number,) = form.unpack_from(self._raw, position)
        except struct.error as err:
            raise ValueError("D-Bus: a message that ends within a value") from err
        self.position = position + form.size
        return number

    def _text(self, length: int) -> str:
        end = self.position + length
        if self._raw[end : end + 1] != b"\0":
            raise ValueError("D-Bus: a text without its end")
        value = self._raw[self.position : end].decode()
        self.position = end + 1
        return value
