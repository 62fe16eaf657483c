"""A thread that does what is due and then waits for the next time, or until it is woken."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_LONGEST_WAIT = 5.0  # seconds; a clock that was set back must not put the loop to sleep
_AFTER_ERROR = 1.0


class Loop:
    """turn does what is due and says in how many seconds to come again (None: when woken)."""

    def __init__(
        self, name: str, turn: Callable[[], float | None], on_error: Callable[[], None]
    ) -> None:
        self.name, self._turn, self._on_error = name, turn, on_error
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def end(self) -> None:
        """Asks the thread to end; join() waits for it."""
        self._stopping = True
        self._wake.set()

    def join(self, deadline: float) -> bool:
        """Waits until a time.monotonic(); whether the thread has ended."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            # Cleared before the turn: what comes up during it brings the next one forward.
            self._wake.clear()
            if self._stopping:  # end() may have come just before
                return
            wait: float | None = _AFTER_ERROR
            try:
                wait = self._turn()
            except Exception:  # the loop must go on
                if not self._stopping:
                    log.exception("%s failed; it goes on in %g s", self.name, _AFTER_ERROR)
                    self._on_error()
            self._wake.wait(min(_LONGEST_WAIT if wait is None else max(wait, 0.0), _LONGEST_WAIT))
