"""How well the clock is kept, as adjtimex(2) tells; psutil does not know of it."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from functools import cache

from exporter.collectors.base import Host, NoDataError
from exporter.families import Found, counter, gauge

_CLOCK_ERROR = 5  # TIME_ERROR: the clock is not synchronised
_STA_NANO = 0x2000  # in status: offset and jitter are in nanoseconds, not microseconds
_MICRO, _NANO = 1e-6, 1e-9
_SCALED_PPM = 1e-6 / 65536  # parts per million with a 16-bit fraction

_SYNC = gauge("node_timex_sync_status", "Whether the clock is kept by a reliable one (1) or not.")
_OFFSET = gauge("node_timex_offset_seconds", "How far the clock is from the one that keeps it.")
_FREQUENCY = gauge(
    "node_timex_frequency_adjustment_ratio", "The clock's speed, as a part of its hardware's."
)
_MAXERROR = gauge("node_timex_maxerror_seconds", "How wrong the clock can be at the most.")
_ESTERROR = gauge("node_timex_estimated_error_seconds", "How wrong the clock seems to be.")
_STATUS = gauge("node_timex_status", "The clock's state, the bits of adjtimex(2) as a number.")
_CONSTANT = gauge("node_timex_loop_time_constant", "How slowly the clock follows its keeper.")
_TICK = gauge("node_timex_tick_seconds", "Time between two of the clock's ticks.")
_PPS_FREQUENCY = gauge(
    "node_timex_pps_frequency_hertz", "Frequency of the pulse-per-second signal."
)
_PPS_JITTER = gauge("node_timex_pps_jitter_seconds", "Unsteadiness of the pulse-per-second signal.")
_PPS_SHIFT = gauge(
    "node_timex_pps_shift_seconds", "Length of the interval that pulses are judged over."
)
_PPS_STABILITY = gauge(
    "node_timex_pps_stability_hertz", "How much the pulses' frequency changed of late, on average."
)
_TAI = gauge("node_timex_tai_offset_seconds", "How far international atomic time is ahead of UTC.")
_JITTERS = counter("node_timex_pps_jitter_total", "Pulses that were too unsteady.")
_CALIBRATIONS = counter(
    "node_timex_pps_calibration_total", "Intervals that pulses were judged over."
)
_ERRORS = counter("node_timex_pps_error_total", "Intervals in which judging the pulses failed.")
_INSTABILITIES = counter(
    "node_timex_pps_stability_exceeded_total", "Intervals in which the frequency changed too much."
)


class Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_sec", ctypes.c_long),
        ("time_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def adjtimex() -> tuple[int, Timex]:
    """The clock's state and figures; changes nothing. OSError where the kernel refuses."""
    buffer = Timex()
    state = int(_libc().adjtimex(ctypes.byref(buffer)))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return state, buffer


class TimexCollector:
    """node_timex_*."""

    name = "timex"

    def __init__(self, _host: Host, read_clock: Callable[[], tuple[int, Timex]] = adjtimex) -> None:
        self._read_clock = read_clock

    def collect(self) -> Iterator[Found]:
        try:
            return families(*self._read_clock())
        except OSError as err:
            if err.errno in (errno.EPERM, errno.EACCES):  # as containers often have it
                raise NoDataError("adjtimex is not permitted here") from err
            raise


def families(state: int, clock: Timex) -> Iterator[Found]:
    fine = _NANO if clock.status & _STA_NANO else _MICRO
    yield _SYNC, int(state != _CLOCK_ERROR)
    yield _OFFSET, clock.offset * fine
    yield _FREQUENCY, 1 + clock.freq * _SCALED_PPM
    yield _MAXERROR, clock.maxerror * _MICRO
    yield _ESTERROR, clock.esterror * _MICRO
    yield _STATUS, clock.status
    yield _CONSTANT, clock.constant
    yield _TICK, clock.tick * _MICRO
    yield _PPS_FREQUENCY, clock.ppsfreq * _SCALED_PPM
    yield _PPS_JITTER, clock.jitter * fine
    yield _PPS_SHIFT, clock.shift
    yield _PPS_STABILITY, clock.stabil * _SCALED_PPM
    yield _TAI, clock.tai
    yield _JITTERS, clock.jitcnt
    yield _CALIBRATIONS, clock.calcnt
    yield _ERRORS, clock.errcnt
    yield _INSTABILITIES, clock.stbcnt
