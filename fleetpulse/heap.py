"""One heap for all threads of a process, where it counts how much memory that has."""

import ctypes
import logging

log = logging.getLogger(__name__)

_M_ARENA_MAX = -8  # mallopt(3)


def share_heap() -> None:
    """Has all threads share one heap. To be called before there are threads.

    glibc gives each thread a heap of its own, none of which takes what is free in another; and
    threads of Python are seldom at work at the same time. Other C libraries go on as they do.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError) as err:
        log.debug("no mallopt here: %s", err)
