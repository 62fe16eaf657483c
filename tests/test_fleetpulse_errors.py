"""What a person is told who cannot start."""

import errno
import os

import pytest

from fleetpulse.errors import cannot_listen

CANNOT = [
    pytest.param(errno.EADDRINUSE, "stop what uses the port, or choose another", id="taken"),
    pytest.param(errno.EACCES, "take CAP_NET_BIND_SERVICE", id="a low port"),
    pytest.param(errno.EADDRNOTAVAIL, "this host has no such address", id="another host's"),
]


@pytest.mark.parametrize(("number", "mend"), CANNOT)
def test_an_address_that_cannot_be_had_comes_with_the_mend(number: int, mend: str) -> None:
    told = str(cannot_listen("0.0.0.0:80", OSError(number, os.strerror(number))))
    assert told.startswith(f"cannot listen on 0.0.0.0:80: {os.strerror(number)}; ")
    assert mend in told
    assert "--listen" in told
