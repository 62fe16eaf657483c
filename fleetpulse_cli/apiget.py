"""A GET of the API, for commands that show what it answers."""

from collections.abc import Mapping
from typing import Any

import requests

from fleetpulse.errors import StartError
from fleetpulse_cli.query import QueryRefusedError

_TIMEOUT = 60  # seconds


def get(url: str, key: str | None) -> Mapping[str, Any]:
    """The answer with its envelope; QueryRefusedError with its error, StartError for no API."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = requests.get(url, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
        body = answer.json()
    except requests.exceptions.JSONDecodeError as err:
        raise StartError(f"{url} is no FleetPulse API: it did not answer in JSON") from err
    except requests.RequestException as err:
        raise StartError(
            f"no API at {url}: {type(err).__name__}; start it with `fleetpulse up`, "
            f"or name another with --url"
        ) from err
    if not isinstance(body, dict) or body.get("status") != "success":
        error = body.get("error", body) if isinstance(body, dict) else body
        raise QueryRefusedError(f"{url}: {error}")
    return body
