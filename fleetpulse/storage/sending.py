"""How lines are handed to a remote store, and what its refusals mean."""

from collections.abc import Callable
from typing import Literal, Protocol

from fleetpulse.errors import StorageError

# Why a batch was not taken. moment: it may pass later. settings: it never will until somebody
# changes something, here or there. lines: some of its lines are at fault. size: it is too large.
Fault = Literal["moment", "settings", "lines", "size"]


class SendError(StorageError):
    """A batch that the store did not take, or not all of it.

    retry_after: seconds, as the store asked. dropped: where the store says that it took all but
    so many of the lines, their number; 0 where it does not say. suspected: which lines its words
    name, if they do: those at fault are among them, or the words are of one fault of several.
    """

    def __init__(
        self,
        message: str,
        fault: Fault = "moment",
        *,
        retry_after: float | None = None,
        dropped: int = 0,
        suspected: Callable[[bytes], bool] | None = None,
    ) -> None:
        super().__init__(message, retriable=fault in ("moment", "settings"))
        self.fault, self.retry_after = fault, retry_after
        self.dropped, self.suspected = dropped, suspected


class Send(Protocol):
    def __call__(self, lines: bytes, timeout: float) -> None:
        """Hands lines over; back only once the store has them. SendError else.

        Never called by two threads at a time. timeout: seconds.
        """
