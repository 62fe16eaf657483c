"""Go's text templates, as far as Alertmanager's users write them in receivers' keys.

syntax.py reads, evaluate.py runs, functions.py has the functions, values.py the data they see.
A template is never more than text in and text out: it reaches no attribute, file or module.
"""

from alertmanager_bridge.gotemplate.evaluate import TemplateError, TemplateSet
from alertmanager_bridge.gotemplate.functions import FUNCTIONS
from alertmanager_bridge.gotemplate.syntax import parse

__all__ = ["TemplateError", "TemplateSet", "check_template"]


def check_template(text: str) -> str:
    """The text itself; ValueError says what is wrong with it as a template."""
    if "{{" in text:
        parse(text, FUNCTIONS)
    return text
