"""One heap for all threads of a process, where it counts how much memory that has."""

import ctypes
import logging

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGEST = 32 << 20  # what malloc itself goes up to, after a while


def share_heap() -> None:
    """Has all threads share one heap. To be called before there are threads.

    glibc gives each thread a heap of its own, none of which takes what is free in another; and
    threads of Python are seldom at work at the same time. Other C libraries go on as they do.
    """
    _set(_M_ARENA_MAX, 1)


def keep_freed(size: int) -> None:
    """Has the heap keep up to size bytes that are free at its end, for what comes next.

    A query makes arrays of megabytes and frees them. Given back to the system each time, every
    page of them comes again as a fault and full of zeros, which takes longer than the sums.
    """
    _set(_M_TRIM_THRESHOLD, size)
    _set(_M_MMAP_THRESHOLD, _LARGEST)


def _set(parameter: int, value: int) -> None:
    try:
        ctypes.CDLL(None).mallopt(parameter, value)
    except (OSError, AttributeError) as err:
        log.debug("no mallopt here: %s", err)
