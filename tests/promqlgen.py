"""Random PromQL for comparing two engines, over samples made for it.

What the generator leaves out on purpose, because two right engines may differ there: samples on
the edge of a window, the choice between equal values, and steps (comparisons, rounding) over values
whose last digits depend on the order of a sum.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

# How alike two engines reckon: the same whatever the order, the same in the same order, nearly.
DYADIC, SAME, NEAR = 2, 1, 0


@dataclass(frozen=True, slots=True)
class Made:
    """An expression. key: labels of which no two rows have the same values.

    grade: how alike engines reckon it. distinct: whether rows hardly ever have equal values.
    finite: never NaN or infinite.
    """

    text: str
    key: tuple[str, ...]
    grade: int = DYADIC
    distinct: bool = False
    finite: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    key: tuple[str, ...]
    counter: bool = False
    distinct: bool = True
    values: tuple[tuple[str, str], ...] = ()


METRICS = (
    Metric(
        "cpu_total",
        ("host", "mode"),
        counter=True,
        values=(("mode", "idle|user"), ("host", "a|b|e")),
    ),
    Metric("load", ("host",), values=(("host", "[b-d]"),)),
    Metric("temp", ("host", "sensor"), values=(("sensor", "x"), ("host", "c|d"))),
    Metric("odd", ("host",), distinct=False, values=(("host", "a|b"),)),
    Metric(
        "took_bucket", ("host", "le"), counter=True, distinct=False, values=(("le", "2|[+]Inf"),)
    ),
    Metric("took_sum", ("host",), counter=True),
    Metric("build_info", ("host",), distinct=False, values=(("version", "1.0"),)),
)
_PLAIN_RANGE = ("min", "max", "last", "count", "present")
_NEAR_RANGE = ("avg", "stddev", "stdvar")
_MATH = (
    "abs",
    "sgn",
    "ceil",
    "floor",
    "exp",
    "sqrt",
    "ln",
    "log2",
    "log10",
    "sin",
    "cos",
    "tanh",
    "atan",
    "deg",
    "rad",
)
_STEPS = ("ceil", "floor", "sgn")
# What makes much of a small difference.
_STEEP = ("sin", "cos", "exp")
_DATES = ("hour", "minute", "month", "year", "day_of_month", "day_of_week", "days_in_month")


class Generator:
    """Expressions from a seed. at_seconds: a time for @ modifiers, off the samples' edges."""

    def __init__(self, seed: str, at_seconds: float) -> None:
        self._rng = random.Random(seed)
        self._at = at_seconds

    def query(self, depth: int = 4) -> str:
        """Any expression: mostly a vector, now and then a scalar, sorted at times."""
        chance = self._rng.random()
        if chance < 0.05:
            return self.scalar(depth)
        made = self.vector(depth)
        if chance < 0.12 and made.distinct:
            return f"{self._rng.choice(['sort', 'sort_desc'])}({made.text})"
        return made.text

    def vector(self, depth: int) -> Made:
        if depth <= 0:
            return self._selector()
        rules: Sequence[tuple[int, Callable[[int], Made]]] = (
            (6, self._over_range),
            (6, self._aggregated),
            (3, self._with_scalar),
            (4, self._joined),
            (2, self._set),
            (2, self._math),
            (1, self._relabelled),
            (2, self._quantile_of_buckets),
            (1, self._other),
            (1, lambda _: self._selector()),
        )
        weights = [weight for weight, _ in rules]
        (rule,) = self._rng.choices([rule for _, rule in rules], weights)
        return rule(depth - 1)

    def scalar(self, depth: int) -> str:
        rng = self._rng
        if depth <= 1 or rng.random() < 0.5:
            return rng.choice(["2", "0.5", "-3", "1e3", "10", "time()", "pi()", "60"])
        if rng.random() < 0.5:
            op = rng.choice("+-*/")
            return f"({self.scalar(depth - 1)} {op} {self.scalar(depth - 1)})"
        return f"scalar({self._whole(self.vector(depth - 1)).text})"

    # Selectors.

    def _selector(self, *, metric: Metric | None = None) -> Made:
        metric = metric or self._rng.choice(METRICS)
        text = metric.name + self._matchers(metric) + self._modifiers()
        return Made(text, metric.key, DYADIC, metric.distinct, metric.name != "odd")

    def _bare_selector(self) -> Made:
        """Without @: timestamp() went astray with it before version 3."""
        metric = self._rng.choice(METRICS)
        return Made(metric.name + self._matchers(metric), metric.key, DYADIC)

    def _matchers(self, metric: Metric) -> str:
        if not metric.values or self._rng.random() < 0.7:
            return ""
        label, pattern = self._rng.choice(metric.values)
        op = self._rng.choice(["=~", "!~"])
        return f'{{{label}{op}"{pattern}"}}'

    def _modifiers(self) -> str:
        rng = self._rng
        text = (
            f" @ {rng.choice([f'{self._at:.3f}', 'start()', 'end()'])}"
            if rng.random() < 0.07
            else ""
        )
        return text + (
            f" offset {rng.choice(['30s', '10m', '-1m'])}" if rng.random() < 0.12 else ""
        )

    def _matrix(self, depth: int, *, counter: bool = False) -> Made:
        """A range of a selector or a subquery; subqueries' ranges are no multiples of a step."""
        rng = self._rng
        if depth <= 0 or rng.random() < 0.6:
            metric = rng.choice([one for one in METRICS if one.counter or not counter])
            window = rng.choice(["40s", "1m", "2m", "5m", "10m"])
            text = f"{metric.name}{self._matchers(metric)}[{window}]{self._modifiers()}"
            return Made(text, metric.key, DYADIC, metric.distinct, metric.name != "odd")
        inner = self._selector(metric=rng.choice(METRICS[:1])) if counter else self.vector(depth)
        window = rng.choice(["95s", "305s", "605s"])
        step = rng.choice(["10s", "20s", "50s"]) if window != "605s" else rng.choice(["30s", ""])
        offset = rng.choice(["", "", "", " offset 20s"])
        return replace(inner, text=f"({inner.text})[{window}:{step}]{offset}")

    # Rules: each takes the depth that is left.

    def _over_range(self, depth: int) -> Made:
        source = self._matrix(depth)
        return replace(self._function(source, depth), finite=source.finite)

    def _function(self, source: Made, depth: int) -> Made:
        rng = self._rng
        kind = rng.random()
        if kind < 0.35:
            name = rng.choice(["rate", "increase", "irate", "rate", "resets"])
            source = self._matrix(depth, counter=True)
            step = name == "resets"
            return Made(
                f"{name}({source.text})",
                source.key,
                SAME if step else NEAR,
                not step and source.distinct,
            )
        if kind < 0.65:
            name = rng.choice(_PLAIN_RANGE)
            counts = name in ("count", "present")
            grade, distinct = (DYADIC, False) if counts else (source.grade, source.distinct)
            return Made(f"{name}_over_time({source.text})", source.key, grade, distinct)
        if kind < 0.7:
            return Made(
                f"sum_over_time({source.text})", source.key, _summed(source), source.distinct
            )
        if kind < 0.8:
            name = rng.choice(_NEAR_RANGE)
            return Made(f"{name}_over_time({source.text})", source.key, NEAR)
        if kind < 0.85 and source.grade >= SAME:
            return Made(f"changes({source.text})", source.key, SAME)
        if kind < 0.9:
            quantile = rng.choice(["0.5", "0.9", "0", "1"])
            return Made(f"quantile_over_time({quantile}, {source.text})", source.key, NEAR)
        name = rng.choice(["delta", "idelta", "deriv", "predict_linear"])
        if name == "predict_linear" and "@" in source.text:
            # Before version 3 its window shrank from step to step.
            name = "deriv"
        more = ", 600" if name == "predict_linear" else ""
        return Made(f"{name}({source.text}{more})", source.key, NEAR)

    def _aggregated(self, depth: int) -> Made:
        inner = self.vector(depth)
        return replace(self._aggregation(inner), finite=inner.finite)

    def _aggregation(self, inner: Made) -> Made:
        rng = self._rng
        key = tuple(label for label in inner.key if rng.random() < 0.5)
        clause = f" by ({', '.join(key)})" if rng.random() < 0.8 else ""
        key = key if clause else ()
        op = rng.choice(
            [
                "sum",
                "sum",
                "avg",
                "min",
                "max",
                "count",
                "group",
                "stddev",
                "stdvar",
                "quantile",
                "topk",
                "bottomk",
                "count_values",
            ]
        )
        if op in ("topk", "bottomk"):
            if not inner.distinct:
                op = "max"
            else:
                return Made(
                    f"{op}{clause} ({rng.choice('123')}, {inner.text})",
                    inner.key,
                    inner.grade,
                    inner.distinct,
                )
        if op == "count_values":
            if inner.grade >= SAME:
                return Made(
                    f'count_values{clause} ("value", {inner.text})', (*key, "value"), DYADIC
                )
            op = "min"
        if op.startswith("std") and not inner.finite:
            # The deviation of one infinity or NaN was 0 before version 3.
            op = "avg"
        if op == "quantile":
            return Made(
                f"quantile{clause} ({rng.choice(['0.3', '0.75'])}, {inner.text})", key, NEAR
            )
        grade = {
            "sum": _summed(inner),
            "min": inner.grade,
            "max": inner.grade,
            "count": DYADIC,
            "group": DYADIC,
        }
        return Made(
            f"{op}{clause} ({inner.text})",
            key,
            grade.get(op, NEAR),
            inner.distinct and op in ("sum", "min", "max", "avg"),
        )

    def _with_scalar(self, depth: int) -> Made:
        rng = self._rng
        inner, other = self.vector(depth), self.scalar(depth)
        if rng.random() < 0.35:
            op = rng.choice([">", "<", ">=", "<=", "==", "!=", "> bool", "< bool", "== bool"])
            number = rng.choice(["0.3", "17.3", "1500000.3", "0"])
            # A value that is nearly 0 may be 0 elsewhere.
            number = "0.3" if number == "0" and inner.grade == NEAR else number
            done = DYADIC if "bool" in op else inner.grade
            return Made(
                f"({inner.text} {op} {number})",
                inner.key,
                done,
                inner.distinct and "bool" not in op,
            )
        op = rng.choice("+-*/" if inner.grade == NEAR else "+-*/%^")
        op = op if op != "^" else "^ 2 *"
        text = (
            f"({inner.text} {op} {other})"
            if rng.random() < 0.8 or "^" in op
            else f"({other} {op} {inner.text})"
        )
        text = f"({inner.text} * {other})" if "%" in op and "scalar" in other else text
        return Made(text, inner.key, NEAR if "scalar" in other else min(inner.grade, SAME))

    def _joined(self, depth: int) -> Made:
        """Two vectors: one to one on the labels that tell rows apart, or many to one."""
        rng = self._rng
        left, right = self.vector(depth), self.vector(depth)
        if not set(right.key) <= set(left.key):
            keep = [label for label in right.key if label in left.key]
            right = Made(f"max by ({', '.join(keep)}) ({right.text})", tuple(keep), right.grade)
        one_to_one = set(left.key) == set(right.key)
        clause = f"on({', '.join(right.key)})" + ("" if one_to_one else " group_left ()")
        grade = min(left.grade, right.grade, SAME)
        exact = grade >= SAME
        op = rng.choice(["+", "-", "*", "+", "-", *(["/", "> bool", "<= bool"] if exact else [])])
        if one_to_one and exact and rng.random() < 0.3:
            op = rng.choice([">", "<", "!=", ">="])
        return Made(f"({left.text} {op} {clause} {right.text})", left.key, grade)

    def _set(self, depth: int) -> Made:
        rng = self._rng
        left, right = self.vector(depth), self.vector(depth)
        op = rng.choice(["and", "unless", "or"])
        if op == "or":
            # Whole label sets decide, and what has the same labels has to have the same key.
            both = f"({left.text} or {right.text})"
            key = tuple(dict.fromkeys((*left.key, *right.key)))
            grouped = f"max by ({', '.join(key)}) {both}"
            return Made(grouped, key, min(left.grade, right.grade))
        shared = [label for label in left.key if label in right.key]
        return Made(
            f"({left.text} {op} on({', '.join(shared)}) {right.text})",
            left.key,
            left.grade,
            left.distinct,
        )

    def _math(self, depth: int) -> Made:
        rng = self._rng
        inner = self.vector(depth)
        barred = _STEPS if inner.grade == NEAR else ()
        barred = (*barred, *_STEEP) if inner.grade < DYADIC else barred
        name = rng.choice([one for one in _MATH if one not in barred])
        kind = rng.random()
        if kind < 0.2:
            return Made(
                f"clamp({inner.text}, -20, {rng.choice(['5', '70'])})",
                inner.key,
                min(inner.grade, SAME),
            )
        if kind < 0.3:
            return Made(f"clamp_min({inner.text}, {self.scalar(depth)})", inner.key, NEAR)
        if kind < 0.4 and inner.grade >= SAME:
            return Made(f"round({inner.text}, {rng.choice(['0.5', '5'])})", inner.key, SAME)
        if kind < 0.5:
            return Made(
                f"-{inner.text}" if inner.text[0] == "(" else f"-({inner.text})",
                inner.key,
                inner.grade,
                inner.distinct,
            )
        return Made(f"{name}({inner.text})", inner.key, SAME if name in _STEPS else NEAR)

    def _relabelled(self, depth: int) -> Made:
        inner = self.vector(depth)
        if self._rng.random() < 0.5:
            text = f'label_replace({inner.text}, "new", "<$1>", "host", "([a-c])")'
        else:
            text = f'label_join({inner.text}, "new", "-", "host", "mode", "none")'
        return replace(inner, text=text)

    def _quantile_of_buckets(self, depth: int) -> Made:
        rng = self._rng
        window = rng.choice(["1m", "5m"])
        source = f"{rng.choice(['rate', 'increase'])}(took_bucket[{window}])"
        key: tuple[str, ...] = ("host",)
        if rng.random() < 0.5:
            source, key = f"sum by (le) ({source})", ()
        source = "took_bucket" if rng.random() < 0.2 else source
        key = ("host",) if source == "took_bucket" else key
        share = (
            rng.choice(["0.5", "0.95", "0", "1", "1.1", "-1"])
            if depth < 3 or rng.random() < 0.8
            else self.scalar(1)
        )
        return Made(f"histogram_quantile({share}, {source})", key, NEAR)

    def _other(self, depth: int) -> Made:
        rng = self._rng
        kind = rng.random()
        if kind < 0.25:
            return Made(f"vector({self.scalar(depth)})", (), NEAR)
        if kind < 0.45:
            inner = self._bare_selector()
            return Made(f"timestamp({inner.text})", inner.key, SAME)
        if kind < 0.6:
            inner = self.vector(depth)
            return Made(f"absent({inner.text})", (), DYADIC) if inner.grade >= SAME else inner
        if kind < 0.75:
            return Made(f"absent_over_time({self._matrix(0).text})", (), DYADIC)
        inner = self._bare_selector()
        return Made(f"{rng.choice(_DATES)}(timestamp({inner.text}))", inner.key, DYADIC)

    def _whole(self, made: Made) -> Made:
        """One row of a vector, for scalar()."""
        return made if not made.key else Made(f"max({made.text})", ())


def _summed(made: Made) -> int:
    return DYADIC if made.grade == DYADIC else NEAR
