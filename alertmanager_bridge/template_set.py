"""Go's templates, as Alertmanager's users write them in receivers' keys and in template files."""

from collections.abc import Callable, Iterable, Mapping

from alertmanager_bridge.template_functions import FUNCTIONS
from alertmanager_bridge.template_values import Data
from fleetpulse.gotemplate.evaluate import Evaluation, Limits
from fleetpulse.gotemplate.nodes import Body, Template, TemplateError
from fleetpulse.gotemplate.parser import parse
from fleetpulse.gotemplate.texts import html
from fleetpulse.gotemplate.values import GoFunction, anything

# A message of a thousand alerts has to pass.
_LIMITS = Limits(steps=500_000, output=1 << 20)

# A named template that is not written in Go's language: data in, text out. May raise ValueError.
Builtin = Callable[[object], str]


def read_template(text: str) -> Template:
    """Raises TemplateError. What it calls may be defined in another text."""
    return parse(text, FUNCTIONS, whole=False)


def check_template(text: str) -> str:
    """The text itself; ValueError says what is wrong with it as a template."""
    if "{{" in text:
        try:
            read_template(text)
        except TemplateError as err:
            raise ValueError(f"template {err}") from err
    return text


class TemplateSet:
    """Named templates, and a cache of those that stand in the configuration."""

    def __init__(
        self, sources: Iterable[str] = (), builtins: Mapping[str, Builtin] | None = None
    ) -> None:
        """A source's template takes the place of one that a source before it, or we, have."""
        self._named: dict[str, Body | GoFunction] = {
            name: GoFunction(f"template {name!r}", (anything,), builtin)
            for name, builtin in (builtins or {}).items()
        }
        self._cache: dict[str, Template] = {}
        for source in sources:
            self._named.update(read_template(source).named)

    def render(self, text: str, data: Data, *, escape: bool = False) -> str:
        """text filled in; escape makes every value safe in HTML. Raises TemplateError."""
        if "{{" not in text:
            return text
        try:
            return Evaluation(
                self._parsed(text),
                FUNCTIONS,
                named=self._named,
                escape=html if escape else None,
                limits=_LIMITS,
            ).run(data)
        except TemplateError as err:
            raise err.of(text) from err

    def _parsed(self, text: str) -> Template:
        parsed = self._cache.get(text)
        if parsed is None:
            parsed = self._cache[text] = read_template(text)
        return parsed
