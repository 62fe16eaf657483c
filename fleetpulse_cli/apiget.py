"""What the API is asked, and how its answer is taken: for all commands that show one."""

from collections.abc import Callable, Mapping
from typing import Any

import requests

from fleetpulse.errors import FleetPulseError, StartError

_TIMEOUT = 60.0  # seconds


class QueryRefusedError(FleetPulseError):
    """The API answered that the query is wrong or cannot be answered; error is its own text."""

    def __init__(self, url: str, error: str) -> None:
        super().__init__(f"{url}: {error}")
        self.error = error


def get(url: str, key: str | None) -> Mapping[str, Any]:
    """The answer with its envelope; QueryRefusedError with its error, StartError for no API."""
    return _asked(url, lambda: requests.get(url, timeout=_TIMEOUT, **_options(key)))


def post(
    url: str, form: Mapping[str, str], key: str | None, timeout: float = _TIMEOUT
) -> Mapping[str, Any]:
    """The same for a form; timeout in seconds."""
    return _asked(url, lambda: requests.post(url, data=form, timeout=timeout, **_options(key)))


def _options(key: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"headers": headers, "allow_redirects": False}


def _asked(url: str, send: Callable[[], requests.Response]) -> Mapping[str, Any]:
    try:
        body = send().json()
    except requests.exceptions.JSONDecodeError as err:
        raise StartError(f"{url} is no FleetPulse API: it did not answer in JSON") from err
    except requests.RequestException as err:
        raise StartError(
            f"no API at {url}: {type(err).__name__}; start it with `fleetpulse up`, "
            f"or name another with --url"
        ) from err
    if not isinstance(body, dict) or body.get("status") != "success":
        error = body.get("error", body) if isinstance(body, dict) else body
        raise QueryRefusedError(url, str(error))
    return body
