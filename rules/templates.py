"""Prometheus' templates in labels and annotations: checked at load, expanded for each alert.

A template that fails while it is expanded becomes `<error expanding template: …>`, as Prometheus
has it: an alert with a poor description is better than none.
"""

import logging
import re
from collections.abc import Mapping
from functools import lru_cache

from fleetpulse.gotemplate.evaluate import Evaluation, Limits
from fleetpulse.gotemplate.nodes import Template, TemplateError
from fleetpulse.gotemplate.parser import parse
from rules.template_functions import NAMES, QueryFunction, functions
from rules.template_values import AlertData

log = logging.getLogger(__name__)

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_TEXT = Limits().output  # a text that is longer could not be written out either
_VARIABLES = ("labels", "externalLabels", "externalURL", "value")


def check(text: str) -> None:
    """Raises TemplateError where text is no template that can be expanded."""
    if len(text) > _MAX_TEXT:
        raise TemplateError(1, f"longer than {_MAX_TEXT} characters")
    _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Template:
    return parse(text, NAMES, _VARIABLES)


@lru_cache(maxsize=1024)
def _warn_once(name: str, text: str, error: str) -> None:
    """Not at every evaluation: the annotation itself keeps saying it."""
    log.warning("alert %s: expanding %r failed: %s", name, text, error)


class Expander:
    """Expands the templates of one rule at one evaluation.

    query answers at the time of the evaluation; at is that time in Unix seconds.
    """

    def __init__(self, name: str, query: QueryFunction, external_url: str, at: float) -> None:
        self._name = name
        self._functions = functions(query, external_url, at)

    def expand(self, text: str, data: AlertData) -> str:
        if "{{" not in text:
            return text
        try:
            result = Evaluation(_parsed(text), self._functions).run(data, data.variables())
            # Half a surrogate pair, which a template can make, has no place in UTF-8.
            return _SURROGATE.sub("\ufffd", result)
        except TemplateError as err:
            _warn_once(self._name, text[:200], str(err))
            return (
                "<error expanding template: error executing template"
                f" __alert_{self._name}: template: {err}>"
            )

    def expand_all(self, texts: Mapping[str, str], data: AlertData) -> dict[str, str]:
        return {name: self.expand(text, data) for name, text in texts.items()}
