"""The groups in force: loads them, puts them on the timetable, exchanges them at a reload."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rules.config import RulesConfig
from rules.files import GroupSpec, find_files, load_groups
from rules.group import Context, Group
from rules.schedule import Timetable

log = logging.getLogger(__name__)


class RuleManager:
    """Owns the groups. apply() is for one thread at a time, the reading for any."""

    def __init__(
        self, timetable: Timetable, base_dir: Path, now: Callable[[], float] = time.time
    ) -> None:
        self._timetable, self._base_dir, self._now = timetable, base_dir, now
        self._groups: dict[str, Group] = {}
        self._context: Context | None = None
        self._lock = threading.Lock()

    @property
    def groups(self) -> list[Group]:
        """The groups in the order of their files and names."""
        return [group for _, group in sorted(self._groups.items())]

    def files(self, config: RulesConfig) -> list[Path]:
        """The rule files as they are now. ConfigError names those that are missing."""
        return find_files(config.rule_files, self._base_dir, shipped=config.shipped)

    def load(self, config: RulesConfig) -> tuple[GroupSpec, ...]:
        """What the files say, without any effect. ConfigError has all faults."""
        return load_groups(self.files(config), config.evaluation_interval)

    def apply(self, specs: Sequence[GroupSpec], context: Context) -> None:
        """Puts the groups in force; those that are unchanged go on as they are.

        After a start the alerts' state is read back from the store; a group that a reload brings
        begins anew, or with the state of the group whose place it takes.
        """
        with self._lock:
            first, same_context = self._context is None, context == self._context
            self._context = context
            old, self._groups = self._groups, dict(self._groups)
            wanted = {spec.key: spec for spec in specs}
            for key in [key for key in old if key not in wanted]:
                self._take_out(self._groups.pop(key))
                old[key].end(self._now())
            for key, spec in wanted.items():
                before = old.get(key)
                if before is not None and before.spec == spec and same_context:
                    continue
                self._put_in(Group(spec, context, restore=first), before)

    def stop(self) -> None:
        """Lets no turn begin any more, nor the next rule of one under way."""
        for group in self.groups:
            group.stop()

    def _take_out(self, group: Group) -> None:
        group.stop()
        self._timetable.remove(group.spec.key)

    def _put_in(self, group: Group, before: Group | None) -> None:
        if before is not None:
            self._take_out(before)
            group.copy_state(before)
        self._groups[group.spec.key] = group
        self._timetable.add(group.spec.key, group, group.spec.interval)
