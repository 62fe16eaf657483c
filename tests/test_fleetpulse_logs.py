"""One event, one line, whatever is in it."""

import json
import logging
import sys

import pytest

from fleetpulse.logs import FORMATS, LEVELS, formatter, level_number, wants_a_person


def record(message: str, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "exporter.app", "msg": message, "levelno": level, "created": 1.7e9, "msecs": 7.9}
    )
    made.levelname = logging.getLevelName(level)
    made.__dict__.update(more)
    return made


HEAD = "ts=2023-11-14T22:13:20.007Z level=info logger=exporter.app msg="
MESSAGES = [
    pytest.param("ready", "ready", id="a word needs no quotes"),
    pytest.param("two words", '"two words"', id="a space"),
    pytest.param('a="b"', r'"a=\"b\""', id="quotes and an equals sign"),
    pytest.param("a\nlevel=error", r'"a\nlevel=error"', id="a line that would pass for another"),
    pytest.param("a\x85b", r'"a\u0085b"', id="what some take for the end of a line"),
    pytest.param("\x1b[31mred", r'"\u001b[31mred"', id="a terminal's command"),
    pytest.param("größe: 5", '"größe: 5"', id="letters stay as they are"),
    pytest.param("", '""', id="nothing"),
    pytest.param("C:\\", r'"C:\\"', id="a backslash"),
]


@pytest.mark.parametrize(("message", "value"), MESSAGES)
def test_logfmt_quotes_what_needs_it(message: str, value: str) -> None:
    assert formatter("logfmt").format(record(message)) == HEAD + value


@pytest.mark.parametrize("message", [case.values[0] for case in MESSAGES])
def test_json_is_an_object_on_a_line(message: str) -> None:
    line = formatter("json").format(record(message))
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.007Z",
        "level": "info",
        "logger": "exporter.app",
        "msg": message,
    }


TEXTS = [
    pytest.param("größe: 5\t1", "größe: 5\t1", id="letters and tabs stay as they are"),
    pytest.param("a\n2026-01-01 ERROR b", "a\n    2026-01-01 ERROR b", id="a line of its own"),
    pytest.param("a\r\x1b[2Jb\x85", r"a\x0d\x1b[2Jb\x85", id="a terminal's commands"),
]


@pytest.mark.parametrize(("message", "told"), TEXTS)
def test_in_text_nothing_passes_for_another_event(message: str, told: str) -> None:
    assert formatter("text").format(record(message)).endswith(f" INFO exporter.app: {told}")


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_traceback_stays_on_the_line(form: str) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = formatter(form).format(record("failed", logging.ERROR, exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: broken" in line


@pytest.mark.parametrize("form", FORMATS)
def test_the_supervisor_tells_warnings_from_the_rest(form: str) -> None:
    made = formatter(form)
    assert wants_a_person(made.format(record("a", logging.WARNING)))
    assert wants_a_person(made.format(record("a", logging.ERROR)))
    assert not wants_a_person(made.format(record("a level=error WARNING b")))


def test_every_level_has_a_number() -> None:
    assert [level_number(level) for level in LEVELS] == [10, 20, 30, 30, 40]
