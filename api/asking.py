"""Asks other roles over HTTP, several at the same time, for what only they know.

Not by way of the store: what these know changes with each turn of theirs, and is of no use later.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeVar
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from api.respond import Refusal, bad_data
from fleetpulse.values import ListenAddress

TIMEOUT = 5.0  # seconds for each
_MAX_BODY = 64 << 20
_AT_ONCE = 16

T = TypeVar("T")
Query = Sequence[tuple[str, str]]


class NoAnswerError(Exception):
    """A role that does not answer, or is none; the message is for people."""


@dataclass(frozen=True, slots=True)
class Question:
    """what: how the one asked is called. path: below /api/v1. lists: what the data must have."""

    what: str
    path: str
    lists: tuple[str, ...] = ()

    def ask(self, address: ListenAddress, query: Query) -> Any:
        """The data of one role's answer. NoAnswerError; Refusal where it refuses the query."""
        status, body = self._fetch(address, query)
        try:
            answer = json.loads(body)
            if status == 400:
                raise bad_data(str(answer["error"]))
            data = answer["data"]
            if status != 200 or not all(isinstance(data[name], list) for name in self.lists):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            message = f"what answers at {address} is no {self.what} of FleetPulse"
            raise NoAnswerError(message) from None
        return data

    def _fetch(self, address: ListenAddress, query: Query) -> tuple[int, bytes]:
        """Asked directly, whatever proxy the environment names."""
        connection = HTTPConnection(address.reachable, address.port, timeout=TIMEOUT)
        try:
            connection.request("GET", f"/api/v1/{self.path}?{urlencode(query)}")
            answer = connection.getresponse()
            body = answer.read(_MAX_BODY + 1)
        except (OSError, HTTPException) as err:
            raise NoAnswerError(f"no answer from the {self.what} at {address}: {err}") from err
        finally:
            connection.close()
        if len(body) > _MAX_BODY:
            raise NoAnswerError(f"the {self.what} at {address} answers with too much")
        return answer.status, body


def ask_all(
    addresses: Sequence[ListenAddress], ask: Callable[[ListenAddress], T]
) -> tuple[list[T], list[str]]:
    """The answers in the order of the addresses, and a warning for each that did not answer."""

    def one(address: ListenAddress) -> T | NoAnswerError:
        try:
            return ask(address)
        except NoAnswerError as err:
            return err

    if len(addresses) < 2:
        found = [one(address) for address in addresses]
    else:
        with ThreadPoolExecutor(min(len(addresses), _AT_ONCE)) as pool:
            found = list(pool.map(one, addresses))
    answers = [answer for answer in found if not isinstance(answer, NoAnswerError)]
    return answers, [str(err) for err in found if isinstance(err, NoAnswerError)]


def unavailable(warnings: Sequence[str], key: str) -> Refusal:
    """Where none answered. key: of the configuration, that names whom to ask."""
    return Refusal(503, "; ".join(warnings) or f"nobody to ask in api.{key}")


def chosen(args: "MultiDict[str, str]", names: Sequence[str]) -> list[tuple[str, str]]:
    """Of a request's parameters those that are handed on, none empty."""
    return [(name, value) for name, value in args.items(multi=True) if name in names and value]
