"""match[] parameters: series selectors without a time, as matchers."""

from flask import Request

from api import params
from api.respond import bad_data
from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.promql.seriesselector import parse_series_selector

_MOST = 1000  # of a request: each is looked up in the store by itself


def selector_texts(request: Request) -> list[str]:
    """The match[] of a request, each once. QueryError where there are too many."""
    texts = list(dict.fromkeys(params.values(request, "match[]")))
    if len(texts) > _MOST:
        raise QueryError(
            "bad_data",
            f"{len(texts):,} match[]; at most {_MOST:,} are taken: put some together with =~",
        )
    return texts


def matcher_sets(request: Request, *, named: bool = False) -> list[list[Matcher]]:
    """One set of matchers for each match[]; Refusal says what is wrong with one.

    named: whether the refusal names the parameter: Prometheus does so for series alone.
    """
    sets = []
    for text in selector_texts(request):
        try:
            sets.append(parse_series_selector(text))
        except QueryError as err:
            refusal = params.invalid("match[]", str(err)) if named else bad_data(str(err))
            raise refusal from err
    return sets
