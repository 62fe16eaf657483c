"""A FUSE mount whose server falls silent when it is told to; for root, where there is /dev/fuse.

The server is a process of its own, this file, and is told by lines on its standard input.
"""

import contextlib
import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SIZE, FREE, AVAIL, FILES, FILES_FREE = 1000 << 12, 400 << 12, 350 << 12, 500, 123

# Operations and layouts: include/uapi/linux/fuse.h.
_LOOKUP, _FORGET, _GETATTR, _STATFS, _INIT, _INTERRUPT, _BATCH_FORGET = 1, 2, 3, 17, 26, 36, 42
_REQUEST = struct.Struct("<IIQQIIIHH")  # length, operation, id, node, uid, gid, pid, …
_ENOENT, _ENOSYS = 2, 38
_DETACH = 2
_SYS_ADMIN = 21  # the capability's number


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Why there can be no mount here; empty where there can."""
    if not sys.platform.startswith("linux") or not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    capabilities = int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16)
    if not capabilities >> _SYS_ADMIN & 1:
        return "only root may mount"
    first = Path("/proc/1/mounts")
    if os.access(first, os.R_OK) and first.read_text() != Path("/proc/self/mounts").read_text():
        return "the first process does not see what is mounted here"
    return ""


class FuseMount:
    def __init__(self, place: Path) -> None:
        self.place = place
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._heard("mounted")

    def fall_silent(self) -> None:
        """Takes requests and answers none: who asks cannot even be killed."""
        self._say("silent")

    def freeze(self) -> None:
        """Stops the server, as a debugger does: it takes no requests."""
        os.kill(self._server.pid, signal.SIGSTOP)

    def speak(self) -> None:
        """Answers what was left unanswered, and goes on."""
        os.kill(self._server.pid, signal.SIGCONT)
        self._say("speak")

    def close(self) -> None:
        """Whatever state it is in: with the server dies the mount, and who waited wakes up."""
        self._server.kill()
        self._server.communicate()
        _libc().umount2(os.fsencode(self.place), _DETACH)

    def _say(self, word: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(word.encode() + b"\n")
        self._server.stdin.flush()
        self._heard(word)

    def _heard(self, word: str) -> None:
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], 20)
        told = self._server.stdout.readline() if ready else b"nothing"
        assert told == word.encode() + b"\n", f"the FUSE server said {told!r}"


@contextlib.contextmanager
def fuse_mount(place: Path) -> Iterator[FuseMount]:
    place.mkdir()
    mount = FuseMount(place)
    try:
        yield mount
    finally:
        mount.close()


def _answer(operation: int) -> tuple[int, bytes]:
    """errno, body."""
    if operation == _INIT:
        return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 4096, 0, 12, 9, 4096, 1, 0, 0, 0)
    if operation == _STATFS:
        # f_bsize is no unit of anything: the fragment is.
        return 0, struct.pack("<QQQQQIIII24x", 1000, 400, 350, 500, 123, 1 << 20, 255, 4096, 0)
    if operation == _GETATTR:
        # Inode 1, a folder that all may read, with two links.
        folder = struct.pack("<Q52xII12xII", 1, 0o40755, 2, 4096, 0)
        return 0, struct.pack("<QII", 1, 0, 0) + folder
    return (_ENOENT if operation == _LOOKUP else _ENOSYS), b""


class _Server:
    def __init__(self, device: int) -> None:
        self._device = device
        self._silent = False
        self._unanswered: list[bytes] = []

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._device, 0], [], [])
            if 0 in ready:
                word = os.read(0, 100).decode().strip()
                if not word:
                    return
                self._obey(word)
            elif self._device in ready:
                # Who asked may have been killed meanwhile.
                with contextlib.suppress(BlockingIOError):
                    self._handle(os.read(self._device, 1 << 17))

    def _obey(self, word: str) -> None:
        self._silent = word == "silent"
        if not self._silent:
            for answer in self._unanswered:
                self._send(answer)
            self._unanswered.clear()
        print(word, flush=True)

    def _handle(self, request: bytes) -> None:
        _, operation, number, *_ = _REQUEST.unpack_from(request)
        if operation in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return  # those have no answer
        error, body = _answer(operation)
        answer = struct.pack("<IiQ", 16 + len(body), -error, number) + body
        if self._silent:
            self._unanswered.append(answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
            os.write(self._device, answer)


def _main(place: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if _libc().mount(b"silent-server", os.fsencode(place), b"fuse.test", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    _Server(device).run()


if __name__ == "__main__":
    _main(sys.argv[1])
