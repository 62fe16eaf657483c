"""Which devices are told: those that a pattern includes, or that none excludes."""

import re


class Filter:
    """include: only names in which it is found; exclude: not these. Remembers its answers.

    As node_exporter has it, neither is anchored by itself.
    """

    _MOST = 4096  # names come and go with containers; what is remembered must not grow for ever

    def __init__(
        self, include: re.Pattern[str] | None = None, exclude: re.Pattern[str] | None = None
    ) -> None:
        self._include, self._exclude = include, exclude
        self._known: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            known = self._known[name] = self._is_wanted(name)
        return known

    def _is_wanted(self, name: str) -> bool:
        if self._include is not None and not self._include.search(name):
            return False
        return self._exclude is None or not self._exclude.search(name)
