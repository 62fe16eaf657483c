"""What every request must pass, and how every error looks."""

import ipaddress
import logging

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from alertmanager_bridge.config import BridgeConfig
from fleetpulse.errors import StorageError

log = logging.getLogger(__name__)


def guard(app: Flask, config: BridgeConfig) -> None:
    """Adds the checks and the error handlers to an application.

    Errors are a JSON text, as in Alertmanager's API. Only JSON is taken, which no form of a
    foreign web page can send; and on loopback only by a name that means this machine, so that no
    foreign name that was pointed here reaches the API from a browser.
    """
    hosts = {host.lower() for host in config.allowed_hosts}
    check_host = config.listen.is_loopback or bool(hosts)

    @app.before_request
    def check() -> ResponseReturnValue | None:
        if check_host and not _is_welcome(request.host, hosts):
            return failure(f"unknown host {request.host!r}; see bridge.allowed_hosts", 403)
        if request.method == "POST" and not request.is_json:
            return failure("send JSON, with Content-Type: application/json", 415)
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(HTTPException)
    def refused(err: HTTPException) -> ResponseReturnValue:
        code = err.code or 500
        text = {
            404: f"there is no {request.path}",
            405: f"{request.method} is not for {request.path}",
            413: f"the request is larger than {config.max_body} bytes",
        }
        return failure(text.get(code, err.description or err.name), code)

    @app.errorhandler(StorageError)
    def storage(err: StorageError) -> ResponseReturnValue:
        log.error("%s %s: %s", request.method, request.path, err)
        return failure("the bridge's state cannot be written; see its log", 500)


def failure(message: str, code: int) -> ResponseReturnValue:
    return jsonify(message), code


def _is_welcome(host: str, allowed: set[str]) -> bool:
    """Whether a Host header is an address, localhost, or configured."""
    name = host.lower()
    if name in allowed:
        return True
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost" or name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
