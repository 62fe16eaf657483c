"""A systemd that tells what it is told to, over D-Bus: to whoever connects, or at a real bus.

Writes messages by itself, so that what reads them in the exporter is held to the specification and
not to its own mirror image.
"""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNITS = "a(ssssssouso)"
MANAGER = "/org/freedesktop/systemd1"
NO_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"


class Writer:
    """Marshals values; little-endian or, to see to it that both are read, big-endian."""

    def __init__(self, order: str = "<") -> None:
        self.order, self.out = order, bytearray()

    def pad(self, to: int) -> None:
        self.out += b"\0" * (-len(self.out) % to)

    def number(self, form: str, value: int) -> None:
        self.pad(struct.calcsize(form))
        self.out += struct.pack(self.order + form, value)

    def add(self, kind: str, value: Any) -> None:
        if kind in ("s", "o"):
            self.number("I", len(value.encode()))
            self.out += value.encode() + b"\0"
        elif kind == "g":
            self.out += bytes((len(value),)) + value.encode() + b"\0"
        elif kind == "v":
            self.add("g", value[0])
            self.add(*value)
        elif kind[0] == "a":
            self.array(kind[1:], value)
        elif kind[0] == "(":
            self.pad(8)
            for one, part in zip(kind[1:-1], value, strict=True):
                self.add(one, part)
        else:
            self.number({"y": "B", "u": "I", "t": "Q", "b": "I", "i": "i"}[kind], value)

    def array(self, kind: str, values: Any) -> None:
        self.number("I", 0)
        place = len(self.out)
        self.pad(8 if kind[0] in "(tx" else 4 if kind[0] != "y" else 1)
        start = len(self.out)
        for value in values:
            self.add(kind, value)
        struct.pack_into(self.order + "I", self.out, place - 4, len(self.out) - start)


def message(kind: int, serial: int, fields: list[Any], signature: str = "", body: Any = None,
            order: str = "<") -> bytes:  # fmt: skip
    """fields: [(code, (type, value)), …]; the body has one value."""
    content, head = Writer(order), Writer(order)
    if signature:
        fields = [*fields, (8, ("g", signature))]
        content.add(signature, body)
    head.out += bytes((ord("l" if order == "<" else "B"), kind, 0, 1))
    head.number("I", len(content.out))
    head.number("I", serial)
    head.array("(yv)", fields)
    head.pad(8)
    return bytes(head.out + content.out)


@dataclass(frozen=True)
class Asked:
    serial: int
    sender: str
    path: str
    member: str
    arguments: list[str]


def asked(raw: bytes) -> Asked:
    """A call whose header and body hold texts alone."""
    body, serial, length = struct.unpack("<III", raw[4:16])
    fields, place = {}, 16
    while place < 16 + length:
        place += -place % 8
        code, kind = raw[place], chr(raw[place + 2])
        start = place + 5 if kind == "g" else place + 8
        size = raw[place + 4] if kind == "g" else struct.unpack_from("<I", raw, place + 4)[0]
        fields[code] = raw[start : start + size].decode()
        place = start + size + 1
    arguments, place = [], len(raw) - body
    while place < len(raw):
        (size,) = struct.unpack_from("<I", raw, place)
        arguments.append(raw[place + 4 : place + 4 + size].decode())
        place += 4 + size + 1
        place += -(place - len(raw) + body) % 4
    return Asked(serial, fields.get(7, ""), fields[1], fields[3], arguments)


@dataclass
class FakeSystemd:
    """units: rows of ListUnits; properties: (path, interface, name) → (type, value)."""

    units: list[tuple[Any, ...]] = field(default_factory=list)
    properties: dict[tuple[str, str, str], tuple[str, Any]] = field(default_factory=dict)
    silent: bool = False
    calls: list[Asked] = field(default_factory=list)

    def set(self, unit: str, part: str, name: str, kind: str, value: Any) -> None:
        path = MANAGER if part == "Manager" else path_of(unit)
        self.properties[path, f"org.freedesktop.systemd1.{part}", name] = kind, value

    def add(self, name: str, active: str = "active", load: str = "loaded") -> None:
        self.units.append((name, "", load, active, "", "", path_of(name), 0, "", "/"))

    def answer(self, call: Asked) -> bytes:
        self.calls.append(call)
        fields: list[Any] = [(5, ("u", call.serial))]
        if call.sender:
            fields.append((6, ("s", call.sender)))
        if call.member == "Hello":
            return message(2, 1, fields, "s", ":1.7")
        if call.member == "ListUnits":
            return message(2, 1, fields, UNITS, self.units)
        found = self.properties.get((call.path, *call.arguments))
        if found is None:
            return message(3, 1, [*fields, (4, ("s", NO_PROPERTY))], "s", "no such property")
        return message(2, 1, fields, "v", found)


def path_of(unit: str) -> str:
    escaped = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)
    return f"{MANAGER}/unit/{escaped}"


def whole_messages(connection: socket.socket) -> Iterator[bytes]:
    kept = b""
    while True:
        while len(kept) >= 16:
            body, _, fields = struct.unpack("<III", kept[4:16])
            length = 16 + fields + -fields % 8 + body
            if len(kept) < length:
                break
            yield kept[:length]
            kept = kept[length:]
        chunk = connection.recv(65536)
        if not chunk:
            return
        kept += chunk


class FakeBus:
    """Listens on a socket as a bus, or systemd itself, would; connections can be cut."""

    def __init__(self, path: Path, systemd: FakeSystemd, reply: bytes = b"OK 1234\r\n") -> None:
        self.systemd, self._reply = systemd, reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self.users: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        lines = connection.makefile("rb", buffering=0)
        self.users.append(lines.readline())
        connection.sendall(self._reply)
        if not self._reply.startswith(b"OK") or lines.readline() != b"BEGIN\r\n":
            return
        # Every bus sends signals that no one asked for.
        connection.sendall(message(4, 9, [(1, ("o", "/")), (3, ("s", "NameAcquired"))], "s", "x"))
        lines.close()
        if not self.systemd.silent:
            _answer(connection, self.systemd)

    def cut(self) -> None:
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(5)


def serve_at_bus(path: Path, systemd: FakeSystemd) -> socket.socket:
    """Takes systemd's name at a real bus and answers there until the socket is closed."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.sendall(f"\0AUTH EXTERNAL {str(os.geteuid()).encode().hex()}\r\n".encode())
    assert connection.recv(1000).startswith(b"OK ")
    bus: list[Any] = [(1, ("o", "/org/freedesktop/DBus")), (2, ("s", "org.freedesktop.DBus")),
                      (6, ("s", "org.freedesktop.DBus"))]  # fmt: skip
    request = Writer()
    request.add("s", "org.freedesktop.systemd1")
    request.add("u", 4)
    named = message(1, 2, [*bus, (3, ("s", "RequestName")), (8, ("g", "su"))])
    named = named[:4] + struct.pack("<I", len(request.out)) + named[8:] + bytes(request.out)
    connection.sendall(b"BEGIN\r\n" + message(1, 1, [*bus, (3, ("s", "Hello"))]) + named)
    threading.Thread(target=_answer, args=(connection, systemd), daemon=True).start()
    return connection


def _answer(connection: socket.socket, systemd: FakeSystemd) -> None:
    try:
        for raw in whole_messages(connection):
            if raw[1] == 1:
                connection.sendall(systemd.answer(asked(raw)))
    except OSError:
        return
