"""A connection to the system's bus, or to systemd without one."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporter.sources import dbus

_BUS = "org.freedesktop.DBus"
# Calls that wait for their answers at a time; a bus cuts off who asks for too many at once.
_PIPELINED = 32
_CHUNK = 64 << 10
_LINE = 4096  # bytes of a line while the connection is agreed on


class BusError(OSError):
    """The other side does not speak as D-Bus has it, or will not have us."""


@dataclass(frozen=True, slots=True)
class Address:
    """A socket. direct: the service itself listens there, and no bus."""

    path: str
    direct: bool = False


SYSTEM_BUS = Address("/run/dbus/system_bus_socket")
SYSTEMD = Address("/run/systemd/private", direct=True)  # for root alone


@dataclass(frozen=True, slots=True)
class Call:
    path: str
    interface: str
    member: str
    arguments: tuple[str, ...] = ()


class Bus:
    """Asks one service. Connects when it is first asked, and again after a failure.

    The first of the addresses is taken that can be connected to. Not for two threads.
    """

    def __init__(
        self,
        service: str,
        addresses: Sequence[Address] = (SYSTEM_BUS, SYSTEMD),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service, self._addresses, self._clock = service, addresses, clock
        self._link: _Link | None = None

    def ask(self, calls: Sequence[Call], timeout: float) -> list[dbus.Message]:
        """An answer for each call, in their order; some may be errors of the service.

        OSError (BusError is one) or ValueError where there is no answer within timeout seconds.
        """
        deadline = self._clock() + timeout
        kept = self._link is not None
        try:
            return self._ask(calls, deadline)
        except ConnectionError:
            if not kept:
                raise
            # A connection of an earlier turn: the bus may have been started anew since.
            return self._ask(calls, deadline)

    def _ask(self, calls: Sequence[Call], deadline: float) -> list[dbus.Message]:
        if self._link is None:
            self._link = self._connect(deadline)
        try:
            return self._link.ask(calls, deadline)
        except BaseException:
            self.close()
            raise

    def _connect(self, deadline: float) -> "_Link":
        refused: OSError | None = None
        for address in self._addresses:
            try:
                connection = _connected(address, deadline - self._clock())
            except OSError as err:
                refused = refused or OSError(err.errno, err.strerror, address.path)
                continue
            link = _Link(connection, "" if address.direct else self._service, self._clock)
            try:
                link.agree(deadline)
            except BaseException:
                link.close()
                raise
            return link
        raise refused or OSError("no address of a bus is known")

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def __del__(self) -> None:
        self.close()


def _connected(address: Address, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(max(0.001, timeout))
    try:
        connection.connect(address.path)
    except OSError:
        connection.close()
        raise
    return connection


class _Link:
    """An open connection."""

    def __init__(self, connection: socket.socket, service: str, clock: Callable[[], float]) -> None:
        self._connection, self._service, self._clock = connection, service, clock
        self._received = bytearray()
        self._serial = 0

    def agree(self, deadline: float) -> None:
        """Says who we are, which the kernel confirms, and greets the bus."""
        user = str(os.geteuid()).encode().hex()
        self._connection.sendall(f"\0AUTH EXTERNAL {user}\r\n".encode())
        answer = self._line(deadline)
        if not answer.startswith(b"OK "):
            raise BusError(f"the bus does not let us in: {answer[:80]!r}")
        self._connection.sendall(b"BEGIN\r\n")
        if self._service:
            hello = dbus.call("/org/freedesktop/DBus", _BUS, "Hello", _BUS)
            (answered,) = self._exchange([hello], deadline)
            if answered.kind == dbus.ERROR:
                raise BusError(f"the bus does not greet back: {answered.error}")

    def ask(self, calls: Sequence[Call], deadline: float) -> list[dbus.Message]:
        answers: list[dbus.Message] = []
        for start in range(0, len(calls), _PIPELINED):
            messages = [
                dbus.call(one.path, one.interface, one.member, self._service, *one.arguments)
                for one in calls[start : start + _PIPELINED]
            ]
            answers += self._exchange(messages, deadline)
        return answers

    def _exchange(self, messages: Sequence[bytes], deadline: float) -> list[dbus.Message]:
        first = self._serial + 1
        self._serial += len(messages)
        numbered = [dbus.stamped(one, number) for number, one in enumerate(messages, first)]
        self._wait_until(deadline)
        self._connection.sendall(b"".join(numbered))
        answers = dict[int, dbus.Message]()
        while len(answers) < len(messages):
            message = self._message(deadline)
            # What else comes are signals that the bus sends to everyone.
            if message.kind in (dbus.RETURN, dbus.ERROR) and message.reply_to >= first:
                answers[message.reply_to] = message
        return [answers[number] for number in range(first, self._serial + 1)]

    def _line(self, deadline: float) -> bytes:
        while b"\r\n" not in self._received:
            if len(self._received) > _LINE:
                raise BusError("the bus sends no line while one is due")
            self._receive(deadline)
        line, _, rest = bytes(self._received).partition(b"\r\n")
        self._received = bytearray(rest)
        return line

    def _message(self, deadline: float) -> dbus.Message:
        length = dbus.length_of(bytes(self._at_least(dbus.HEAD, deadline)[: dbus.HEAD]))
        raw = bytes(self._at_least(length, deadline)[:length])
        del self._received[:length]
        return dbus.parse(raw)

    def _at_least(self, count: int, deadline: float) -> bytearray:
        while len(self._received) < count:
            self._receive(deadline)
        return self._received

    def _receive(self, deadline: float) -> None:
        self._wait_until(deadline)
        chunk = self._connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionResetError("the bus closed the connection")
        self._received += chunk

    def _wait_until(self, deadline: float) -> None:
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the bus takes too long to answer")
        self._connection.settimeout(left)

    def close(self) -> None:
        self._connection.close()
