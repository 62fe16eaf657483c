"""One page by push mode, for a timer: `fleetpulse exporter --push … --once`."""

import time
from collections.abc import Callable

from exporter.push.pusher import Pusher


def push_once(
    pusher: Pusher,
    *,
    seconds: float = 30.0,
    steady: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] = print,
) -> int:
    """Makes a page and sends all that waits, within so many seconds and one request.

    The exit code: 0 when all of it is with the API; 1 when some waits on disk for the next run,
    was refused or could not be kept. StartError where another process holds the spool.
    """
    pusher.open()
    try:
        end = steady() + seconds
        pusher.make()
        while (pause := pusher.turn(lambda: steady() < end)) is not None:
            if steady() + pause.seconds >= end:
                break
            sleep(pause.seconds)
        stats, waiting = pusher.stats, pusher.waiting
        say(_line(stats.sent, waiting, stats.refused + stats.not_kept, pusher.trouble))
        return int(waiting > 0 or stats.refused + stats.not_kept > 0)
    finally:
        pusher.stop()


def _line(sent: int, waiting: int, lost: int, trouble: str) -> str:
    line = f"{sent} {'page' if sent == 1 else 'pages'} sent, {waiting} waiting"
    if lost:
        line += f", {lost} not taken"
    return f"{line}: {trouble}" if trouble else line
