"""Examples of a page of documentation: what its console blocks ask with curl, and what comes back.

A block is a line `$ COMMAND`, which goes on where a quote is open or behind a backslash, and the
lines below, up to the next command: what it prints.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, urlsplit

from flask.testing import FlaskClient

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VALUED = {"-X", "-H", "-d", "--data-binary", "--data-urlencode", "-w"}


@dataclass(frozen=True, slots=True)
class Example:
    """command: without its prompt. printed: as it stands in the page. line: of the command."""

    command: str
    printed: str
    line: int


def examples(page: str) -> Iterator[Example]:
    for block in _BLOCK.finditer(page):
        line = page.count("\n", 0, block.start(1)) + 1
        for part in re.split(r"^(?=\$ )", block[1], flags=re.MULTILINE):
            if part:
                command, printed = _divided(part)
                yield Example(command, printed, line)
            line += part.count("\n")


def _divided(part: str) -> tuple[str, str]:
    lines = part.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        command = "".join(lines[:count]).removeprefix("$ ").rstrip("\n")
        try:
            shlex.split(command)
        except ValueError:  # a quote is open, or a backslash ends the line
            continue
        if not command.endswith("\\"):
            return command, "".join(lines[count:])
    raise AssertionError(f"a command without an end: {part}")


@dataclass(slots=True)
class Curl:
    """A curl that asks a test client. files: what commands read and write; by name."""

    client: FlaskClient
    files: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> str:
        """What the command prints."""
        joined = command.replace("\\\n", " ")
        text = re.sub(r"\$\(cat ([\w.]+)\)", lambda found: self.files[found[1]], joined)
        words = shlex.split(text)
        if words[0] == "printf":
            assert words[2] == ">"
            self.files[words[3]] = words[1].encode().decode("unicode_escape")
            return ""
        assert words[0] == "curl", command
        return self._ask(words[1:])

    def _ask(self, words: list[str]) -> str:
        given: dict[str, list[str]] = {}
        urls, get = [], False
        while words:
            word = words.pop(0)
            if word in _VALUED:
                given.setdefault(word, []).append(words.pop(0))
            elif word == "-G":
                get = True
            else:
                assert not word.startswith("-"), f"curl {word}: not known here"
                urls.append(word)
        (url,) = urls
        parts = urlsplit(url if "://" in url else f"http://{url}")
        body = "&".join(self._pairs(given))
        method = given.get("-X", ["POST" if body and not get else "GET"])[-1]
        asked = "&".join(filter(None, [parts.query, body if get else ""]))
        path = quote(parts.path, safe="/%:-_.~")
        # As curl sends it: brackets and braces that stand in the address are left as they are.
        answer = self.client.open(
            f"{path}?{asked}" if asked else path,
            base_url=f"http://{parts.netloc}",
            method=method,
            data=None if get else body,
            headers=self._headers(given, form=bool(body) and not get),
        )
        after = given.get("-w", [""])[-1].encode().decode("unicode_escape")
        shown = {"http_code": str(answer.status_code), "redirect_url": answer.location or ""}
        for name, value in shown.items():
            base = f"http://{parts.netloc}" if value.startswith("/") else ""
            after = after.replace(f"%{{{name}}}", base + value)
        return ("" if after and answer.status_code == 302 else answer.text) + after

    def _pairs(self, given: Mapping[str, list[str]]) -> Iterator[str]:
        for data in [*given.get("-d", []), *given.get("--data-binary", [])]:
            yield self.files[data[1:]] if data.startswith("@") else data
        for data in given.get("--data-urlencode", []):
            name, _, value = data.partition("=")
            yield f"{name}={quote_plus(value)}"

    @staticmethod
    def _headers(given: Mapping[str, list[str]], *, form: bool) -> dict[str, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        for text in given.get("-H", []):
            name, _, value = text.partition(":")
            headers[name] = value.strip()
        return headers
