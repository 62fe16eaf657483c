"""The exceptions that cross module borders. Each says whether a retry makes sense."""

import errno
from collections.abc import Sequence
from typing import Literal


class FleetPulseError(Exception):
    """Base of all errors that a caller is expected to handle."""

    retriable = False


class StartError(FleetPulseError):
    """A role cannot start: one line saying what is wrong and how to mend it. Exit code 2."""


def cannot_listen(address: object, err: OSError) -> StartError:
    """What is wrong with a server's address, and how to mend it."""
    mend = "stop what uses the port, or choose another"
    if err.errno == errno.EACCES:
        mend = "ports below 1024 take CAP_NET_BIND_SERVICE; have it, or choose another"
    elif err.errno == errno.EADDRNOTAVAIL:
        mend = "this host has no such address; choose one of its own"
    return StartError(
        f"cannot listen on {address}: {err.strerror or err}; {mend} with --listen or the section's "
        f"listen key"
    )


class ConfigError(FleetPulseError):
    """Faults in a file a person wrote, each as `file:line: path.key: what and what instead`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ExpositionError(FleetPulseError):
    """A metrics page that cannot be read. The message names the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class StorageError(FleetPulseError):
    """A store refused or failed; retriable says whether the same write may pass later."""

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


QueryErrorType = Literal["bad_data", "execution", "timeout", "canceled", "unavailable"]


class QueryError(FleetPulseError):
    """A query that gets no answer; error_type is Prometheus' errorType."""

    def __init__(self, error_type: QueryErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class NotifyError(FleetPulseError):
    """A message that did not go out. retry_after is in seconds, as the receiver asked."""

    def __init__(self, message: str, *, retriable: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.retry_after = retry_after
