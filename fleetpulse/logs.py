"""A process' log: one event at a time on stderr, as text for people or as logfmt or JSON."""

import logging
import re
import sys
import time

FORMATS = ("text", "logfmt", "json")
LEVELS = ("debug", "info", "warn", "warning", "error")

# The beginning of a line that tells of trouble, in each form.
_TROUBLE = re.compile(
    r"\d\S+ \S+ (?:WARNING|ERROR|CRITICAL) "
    r"|ts=\S+ level=(?:warning|error|critical) "
    r'|\{"ts": "[^"]+", "level": "(?:warning|error|critical)"'
)
# What a terminal obeys, or takes for the end of a line.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_NOISY = ("urllib3", "schedule", "werkzeug")  # at INFO they tell of every single request or job


def setup_logging(level: str = "info", form: str = "text") -> None:
    """Sends what is logged to stderr. level is one of LEVELS, form one of FORMATS."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level_number(level), handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def level_number(level: str) -> int:
    return {"warn": logging.WARNING}.get(level) or logging.getLevelNamesMapping()[level.upper()]


def formatter(form: str) -> logging.Formatter:
    if form == "text":
        return Text("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return Logfmt() if form == "logfmt" else Json()


def wants_a_person(line: str) -> bool:
    """Whether a line, in whichever form, was logged as a warning or worse."""
    return _TROUBLE.match(line) is not None


class Text(logging.Formatter):
    """For people: a line an event, what follows of a message or a traceback is indented.

    So nothing that others named, such as a file or a mount, can pass for a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", super().format(record))
        return text.replace("\n", "\n    ")


class Logfmt(logging.Formatter):
    """`ts=… level=… logger=… msg="…"`, a traceback as a further value: each event is one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_quoted(value)}" for name, value in _fields(self, record).items())


class Json(logging.Formatter):
    """The same as an object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        import json  # by those only who ask for it

        return json.dumps(_fields(self, record))


def _fields(form: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    fields = {
        "ts": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}"
        f".{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    if record.exc_info:
        fields["exc"] = form.formatException(record.exc_info)
    return fields


def _quoted(value: str) -> str:
    """Bare where nothing in it could be mistaken; else in quotes, as JSON has them."""
    if value and value.isprintable() and not set(value) & set(' ="\\'):
        return value
    import json

    return json.dumps(value, ensure_ascii=not value.replace("\n", " ").isprintable())
