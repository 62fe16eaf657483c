"""What `fleetpulse up` starts: the five roles of one host, from the sink to the source."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetpulse import __version__
from fleetpulse.errors import StartError
from fleetpulse.values import ListenAddress
from fleetpulse_cli.asking import ask_open
from fleetpulse_cli.supervisor import Role, Supervisor, say

STARTED = ("bridge", "rules", "api", "scraper", "exporter")
SHOWN = ("exporter", "scraper", "api", "rules", "bridge")


def run_up(config: Path | None, data_dir: Path) -> int:
    """Runs until it is told to stop; the exit code. StartError, ConfigError before any start."""
    # Apart: this process lives as long as its roles and needs none of their libraries.
    ready = _apart(lambda: _prepare(config, data_dir))
    listen = {name: ListenAddress(*ready["listen"][name]) for name in STARTED}
    say(f"FleetPulse {__version__}   data in {_shown(data_dir)}")
    arguments = ["--data-dir", str(data_dir)]
    if ready["file"] is not None:
        arguments += ["--config", ready["file"]]
    roles = [
        Role(name, [name, *arguments], listen[name], _describe(name, listen[name], ready["note"]))
        for name in STARTED
    ]
    if ready["exporter_url"]:  # it asks for certificates or passwords that are not ours to know
        said = (f"{ready['exporter_url']}/metrics", "")
        secured = replace(roles[-1], describe=lambda _line: said, ask=ask_open)
        roles[-1] = secured
    return Supervisor(roles, SHOWN, data_dir / "logs").run()


def _prepare(config: Path | None, data_dir: Path) -> dict[str, Any]:
    """Reads the configuration and makes what must be there: folders and the first key."""
    from fleetpulse.telemetry import bind
    from fleetpulse_cli.keys import ensure_admin, key_store
    from fleetpulse_cli.sections import read_root
    from fleetpulse_cli.settings import find_file, prepare_data_dir

    file = find_file(config)
    root = read_root(file)
    prepare_data_dir(data_dir)
    (data_dir / "logs").mkdir(exist_ok=True)
    listen = {name: getattr(root, name).listen for name in STARTED if name != "exporter"}
    listen["exporter"] = root.exporter.listen[0]  # the one by which it is asked how it is
    for name, address in listen.items():
        try:
            bind(address).server_close()  # says it now, and of all programs the right one
        except StartError as err:
            raise StartError(f"{name} {err}") from err
    admin_key = ensure_admin(key_store(data_dir), data_dir)
    return {
        "file": None if file is None else str(file),
        "exporter_url": _secured_url(listen["exporter"], root.exporter.web_config_file),
        "listen": {name: (address.host, address.port) for name, address in listen.items()},
        "note": f"admin key written to {_shown(Path(admin_key))} (shown once)" if admin_key else "",
    }


def _secured_url(address: ListenAddress, web_file: Path | None) -> str:
    """Where the exporter is, if its web configuration file guards it. ConfigError."""
    if web_file is None:
        return ""
    from fleetpulse.web.rules import load_rules

    return (
        address.url
        if load_rules(web_file).context is None
        else address.url.replace("http", "https", 1)
    )


def _apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """work's result from a process of its own, whose errors end both. There are no threads yet."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        # Errors rise to main(), which tells them and ends this process.
        with os.fdopen(writer, "w") as out:
            json.dump(work(), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as found:
        text = found.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        sys.exit(code if code > 0 else 1)
    result: dict[str, Any] = json.loads(text)
    return result


def _describe(name: str, address: ListenAddress, key_note: str) -> Callable[[str], tuple[str, str]]:
    """How a role's line reads, given what it says of itself when it is ready."""
    if name == "exporter":
        return lambda _line: (f"{address.url}/metrics", "")
    if name == "api":
        return lambda _line: (address.url, key_note)
    if name == "bridge":
        return lambda line: (address.url, line)
    return lambda line: (line, "")


def _shown(path: Path) -> str:
    """A relative path with its ./, as a person would name it."""
    return str(path) if path.is_absolute() else f"./{path}"
