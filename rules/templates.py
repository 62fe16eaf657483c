"""Prometheus' templates in labels and annotations: checked at load, expanded for each alert.

A template that fails while it is expanded becomes `<error expanding template: …>`, as Prometheus
has it: an alert with a poor description is better than none.
"""

import logging
from collections.abc import Mapping
from functools import lru_cache

from rules.template_eval import Evaluation
from rules.template_functions import NAMES, QueryFunction, functions
from rules.template_nodes import Template, TemplateError
from rules.template_parser import parse
from rules.template_values import AlertData

log = logging.getLogger(__name__)

_VARIABLES = ("labels", "externalLabels", "externalURL", "value")
_MAX_TEMPLATE = 65_536


def check(text: str) -> None:
    """Raises TemplateError where text is no template that can be expanded."""
    if len(text) > _MAX_TEMPLATE:
        raise TemplateError(1, f"longer than {_MAX_TEMPLATE} characters")
    _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Template:
    return parse(text, NAMES, _VARIABLES)


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
            return Evaluation(_parsed(text), self._functions).run(data, data.variables())
        except TemplateError as err:
            log.warning("alert %s: expanding %r failed: %s", self._name, text[:200], err)
            return (
                "<error expanding template: error executing template"
                f" __alert_{self._name}: template: {err}>"
            )

    def expand_all(self, texts: Mapping[str, str], data: AlertData) -> dict[str, str]:
        return {name: self.expand(text, data) for name, text in texts.items()}
