"""What `fleetpulse up` starts: the five roles of one host, from the sink to the source."""

from collections.abc import Callable
from pathlib import Path

from fleetpulse import __version__
from fleetpulse.telemetry import bind
from fleetpulse.values import ListenAddress
from fleetpulse_cli.keys import ensure_admin, key_store
from fleetpulse_cli.settings import Settings, find_file, prepare_data_dir
from fleetpulse_cli.supervisor import Role, Supervisor

STARTED = ("bridge", "rules", "api", "scraper", "exporter")
SHOWN = ("exporter", "scraper", "api", "rules", "bridge")


def run_up(config: Path | None, data_dir: Path) -> int:
    """Runs until it is told to stop; the exit code. StartError, ConfigError before any start."""
    file = find_file(config)
    root = Settings(file).current
    prepare_data_dir(data_dir)
    logs = data_dir / "logs"
    logs.mkdir(exist_ok=True)
    listen = {name: getattr(root, name).listen for name in STARTED}
    for address in listen.values():
        bind(address).server_close()  # says it now, and of all programs the right one
    admin_key = ensure_admin(key_store(data_dir), data_dir)
    note = f"admin key written to {_shown(Path(admin_key))} (shown once)" if admin_key else ""
    print(f"FleetPulse {__version__}   data in {_shown(data_dir)}", flush=True)
    arguments = ["--data-dir", str(data_dir)]
    if file is not None:
        arguments += ["--config", str(file)]
    roles = [
        Role(name, [name, *arguments], listen[name].url, _describe(name, listen[name], note))
        for name in STARTED
    ]
    return Supervisor(roles, SHOWN, logs).run()


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
