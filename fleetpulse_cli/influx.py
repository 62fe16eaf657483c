"""`fleetpulse influx setup`, `influx status`: what an InfluxDB should have, and what it has."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TextIO

from fleetpulse.errors import StartError
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.plan import Step, is_settled
from fleetpulse.yamldoc import Secret, read_secret

FINE, FINDINGS = 0, 1


class Setup(Protocol):
    """Of one version. All raise StorageError."""

    name: str

    def plan(self) -> Sequence[Step[Any]]: ...
    def carry_out(self, step: Step[Any]) -> None: ...
    def close(self) -> None: ...
    def backfill(self) -> Iterator[tuple[int, int, int]]:
        """(done, of, points written), turn by turn."""


def run_influx(options: argparse.Namespace, storage: Any) -> int:
    """The exit code. StartError where the configuration names no InfluxDB."""
    with closing(open_setup(storage, options.admin_user, options.admin_secret_file)) as setup:
        if options.action == "status":
            return status(setup)
        code = set_up(setup, agreed=_asked(assume=options.yes))
        if code == FINE and options.backfill:
            backfill(setup, storage)
    return code


def open_setup(storage: Any, admin_user: str | None, admin_secret: Path | None) -> Any:
    """Asks nothing yet."""
    if isinstance(storage, Influx1Config):
        return _setup1(storage, admin_user, admin_secret)
    if isinstance(storage, Influx2Config):
        return _setup2(storage, admin_user, admin_secret)
    raise StartError(
        f"storage.kind is {storage.kind}, which needs no setup; this is for influxdb1 and "
        f"influxdb2 (--config names the file)"
    )


def _setup1(config: Influx1Config, user: str | None, secret: Path | None) -> Any:
    # Not above: only who sets InfluxDB up has a use for it.
    from fleetpulse.storage.influx.http1 import Influx1Http
    from fleetpulse.storage.influx.manage1 import Influx1Setup

    if user is None:
        if secret is not None:
            raise StartError("--admin-secret-file without --admin-user; give both")
        return Influx1Setup(config, Influx1Http(config))
    password = None
    if config.username and config.username != user:
        password = read_secret(config.password, config.password_file)
    admin = config.model_copy(update={"username": user, "password": None, "password_file": secret})
    return Influx1Setup(config, Influx1Http(admin), user_password=password)


def _setup2(config: Influx2Config, user: str | None, secret: Path | None) -> Any:
    from fleetpulse.storage.influx.manage2 import Influx2Setup

    if user is not None:
        raise StartError("--admin-user is for influxdb1; influxdb2 has tokens: --admin-secret-file")
    if secret is not None:
        token = Secret(read_secret(None, secret) or "")
        return Influx2Setup(config, config.model_copy(update={"token": token, "token_file": None}))
    if config.token_file is not None and not config.token_file.exists():
        raise StartError(
            f"{config.token_file} is not there yet: setup makes it. Give a token that may manage "
            f"the organization with --admin-secret-file FILE"
        )
    return Influx2Setup(config, config)


def status(setup: Setup, out: TextIO | None = None) -> int:
    steps = setup.plan()
    _show(setup, steps, out)
    if is_settled(steps):
        return FINE
    print("`fleetpulse influx setup` does what is marked + and ~", file=sys.stderr)
    return FINDINGS


def set_up(setup: Setup, *, agreed: Callable[[], bool], out: TextIO | None = None) -> int:
    """Shows the plan, asks, carries it out."""
    steps = setup.plan()
    _show(setup, steps, out)
    if is_settled(steps):
        print("nothing to do", file=sys.stderr)
        return FINE
    if not agreed():
        print("nothing is done", file=sys.stderr)
        return FINDINGS
    for step in steps:
        setup.carry_out(step)
    print("done", file=sys.stderr)
    return FINE


def backfill(setup: Setup, storage: Any) -> None:
    if not storage.retention.tiers:
        raise StartError("--backfill: storage.retention.tiers is 0, so there are no windows")
    points = 0
    for done, of, written in setup.backfill():
        points += written
        print(f"\rbackfill: {done} of {of}", end="", file=sys.stderr, flush=True)
    print(f"\rbackfill: done{f', {points} windows' if points else ''}", file=sys.stderr)


def _show(setup: Setup, steps: Sequence[Step[Any]], out: TextIO | None) -> None:
    print(setup.name, file=sys.stderr)
    for step in steps:
        print(step, file=out or sys.stdout)


def _asked(*, assume: bool) -> Callable[[], bool]:
    """Without a terminal nobody can be asked, and nobody has agreed."""

    def ask() -> bool:
        if assume:
            return True
        if not sys.stdin.isatty():
            print("--yes carries it out", file=sys.stderr)
            return False
        print("Go ahead? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask
