"""The routing tree: which receivers an alert goes to, and how it is grouped on the way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from alertmanager_bridge.amconfig import RouteConfig
from alertmanager_bridge.matching import LabelFilter
from fleetpulse.matchers import Matcher, MatchOp
from fleetpulse.model import Labels

_DEFAULTS = (30.0, 300.0, 4 * 3600.0)  # group_wait, group_interval, repeat_interval
_OP_ORDER: list[MatchOp] = ["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A node of the tree with what it inherited. Times in seconds."""

    receiver: str
    group_by: frozenset[str]
    group_by_all: bool
    group_wait: float
    group_interval: float
    repeat_interval: float
    key: str
    accepts: LabelFilter
    continues: bool
    children: "tuple[Route, ...]" = field(default=())

    def match(self, labels: Mapping[str, str]) -> "list[Route]":
        """The routes an alert takes: depth first, a node only where none of its children did."""
        if not self.accepts(labels):
            return []
        found: list[Route] = []
        for child in self.children:
            taken = child.match(labels)
            found += taken
            if taken and not child.continues:
                break
        return found or [self]

    def group_labels(self, labels: Labels) -> Labels:
        return labels if self.group_by_all else labels.only(*self.group_by)

    def walk(self) -> "Iterator[Route]":
        yield self
        for child in self.children:
            yield from child.walk()


def build_route(config: RouteConfig, parent: Route | None = None) -> Route:
    """The tree of a file's `route`; what a node leaves out comes from its parent."""
    accepts = LabelFilter(sorted(config.all_matchers(), key=_matcher_order))
    group_by, group_by_all = _grouping(config, parent)
    wait, interval, repeat = (
        (parent.group_wait, parent.group_interval, parent.repeat_interval) if parent else _DEFAULTS
    )
    node = Route(
        receiver=config.receiver or (parent.receiver if parent else ""),
        group_by=group_by,
        group_by_all=group_by_all,
        group_wait=wait if config.group_wait is None else config.group_wait,
        group_interval=config.group_interval or interval,
        repeat_interval=config.repeat_interval or repeat,
        key=f"{parent.key}/{accepts}" if parent else str(accepts),
        accepts=accepts,
        continues=config.continue_,
    )
    children = tuple(build_route(child, node) for child in config.routes)
    object.__setattr__(node, "children", children)  # a child needs its parent to be there first
    return node


def _grouping(config: RouteConfig, parent: Route | None) -> tuple[frozenset[str], bool]:
    if config.group_by is None:
        return (parent.group_by, parent.group_by_all) if parent else (frozenset(), False)
    if "..." in config.group_by:
        return frozenset(), True
    return frozenset(config.group_by), False


def _matcher_order(matcher: Matcher) -> tuple[str, str, int]:
    return (matcher.name, matcher.value, _OP_ORDER.index(matcher.op))
