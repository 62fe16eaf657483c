"""Relabelling rules, one by one and in a row, with Prometheus' results."""

from typing import Any

import pytest

from scraper.relabel import RelabelConfig, compile_rules, relabel

ABC = {"a": "foo", "b": "bar", "c": "baz"}

RULES = [
    pytest.param(
        [
            {
                "source_labels": ["a"],
                "regex": "f(.*)",
                "target_label": "d",
                "replacement": "ch${1}-ch${1}",
            }
        ],
        {**ABC, "d": "choo-choo"},
        id="replace with a group",
    ),
    pytest.param(
        [
            {
                "source_labels": ["a", "b"],
                "regex": "f(.*);(.*)r",
                "target_label": "a",
                "replacement": "b${1}${2}m",
            }
        ],
        {**ABC, "a": "boobam"},
        id="replace joins its sources",
    ),
    pytest.param(
        [{"source_labels": ["a"], "regex": "o", "target_label": "d", "replacement": "x"}],
        ABC,
        id="a regex is anchored",
    ),
    pytest.param(
        [{"target_label": "d", "replacement": "static"}], {**ABC, "d": "static"}, id="no source"
    ),
    pytest.param(
        [{"source_labels": ["zz"], "target_label": "a"}],
        {"b": "bar", "c": "baz"},
        id="an empty result takes the label away",
    ),
    pytest.param(
        [{"source_labels": ["a"], "regex": "(f).*", "target_label": "${1}_x", "replacement": "y"}],
        {**ABC, "f_x": "y"},
        id="the target label is a template",
    ),
    pytest.param([{"source_labels": ["a"], "regex": "f.*", "action": "drop"}], None, id="drop"),
    pytest.param([{"source_labels": ["a"], "regex": "f", "action": "drop"}], ABC, id="drop misses"),
    pytest.param([{"source_labels": ["a"], "regex": "f.*", "action": "Keep"}], ABC, id="keep"),
    pytest.param(
        [{"source_labels": ["a"], "regex": "x", "action": "keep"}], None, id="keep misses"
    ),
    pytest.param(
        [{"source_labels": ["a"], "target_label": "a", "action": "keepequal"}], ABC, id="keepequal"
    ),
    pytest.param(
        [{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}],
        None,
        id="keepequal misses",
    ),
    pytest.param(
        [{"source_labels": ["a"], "target_label": "a", "action": "dropequal"}],
        None,
        id="dropequal",
    ),
    pytest.param(
        [{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}],
        ABC,
        id="dropequal misses",
    ),
    pytest.param(
        [{"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}],
        {**ABC, "d": "976"},
        id="hashmod is Prometheus'",
    ),
    pytest.param(
        [{"regex": "(b|c)", "replacement": "bar_${1}", "action": "labelmap"}],
        {**ABC, "bar_b": "bar", "bar_c": "baz"},
        id="labelmap",
    ),
    pytest.param([{"regex": "(b|c)", "action": "labeldrop"}], {"a": "foo"}, id="labeldrop"),
    pytest.param(
        [{"regex": "(b|c)", "action": "labelkeep"}], {"b": "bar", "c": "baz"}, id="labelkeep"
    ),
    pytest.param(
        [
            {"source_labels": ["a"], "target_label": "u", "action": "uppercase"},
            {"source_labels": ["u"], "target_label": "l", "action": "lowercase"},
        ],
        {**ABC, "u": "FOO", "l": "foo"},
        id="uppercase then lowercase",
    ),
    pytest.param(
        [
            {"replacement": "straße İ ŉ", "target_label": "a"},
            {"source_labels": ["a"], "target_label": "u", "action": "uppercase"},
            {"source_labels": ["a"], "target_label": "a", "action": "lowercase"},
        ],
        {**ABC, "a": "straße i ŉ", "u": "STRAßE İ ŉ"},
        id="letters change one by one",
    ),
    pytest.param(
        [{"regex": None, "target_label": "d", "replacement": "x"}],
        {**ABC, "d": "x"},
        id="no regex is an empty one",
    ),
    pytest.param(
        [
            {"source_labels": ["a"], "target_label": "d", "replacement": "x"},
            {"source_labels": ["d"], "regex": "x", "action": "drop"},
        ],
        None,
        id="a rule sees what the one before did",
    ),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
def test_relabelling(rules: list[dict[str, Any]], expected: dict[str, str] | None) -> None:
    labels = dict(ABC)
    configs = [RelabelConfig.model_validate(rule) for rule in rules]
    kept = relabel(labels, compile_rules(configs))
    assert (labels if kept else None) == expected


NAMES = frozenset({"job", "instance"})
TOUCHES = [
    ({"source_labels": ["__name__"], "regex": "x", "action": "drop"}, False),
    ({"source_labels": ["instance"], "regex": "x", "action": "drop"}, True),
    ({"target_label": "job", "replacement": "x"}, True),
    ({"source_labels": ["a"], "target_label": "$1"}, True),
    ({"regex": "le", "action": "labeldrop"}, False),
    ({"regex": "inst.*", "action": "labeldrop"}, True),
    ({"regex": "job|instance|le", "action": "labelkeep"}, False),
    ({"regex": "le", "action": "labelkeep"}, True),
    ({"regex": "a_(.+)", "action": "labelmap"}, True),
    ({"regex": "a_.+", "replacement": "b", "action": "labelmap"}, False),
]


@pytest.mark.parametrize(("rule", "touches"), TOUCHES, ids=str)
def test_a_rule_knows_whether_it_depends_on_some_labels(
    rule: dict[str, Any], touches: bool
) -> None:
    (compiled,) = compile_rules([RelabelConfig.model_validate(rule)])
    assert compiled.touches(NAMES) == touches


def test_before_utf8_a_name_that_is_none_is_not_written() -> None:
    config = RelabelConfig.model_validate(
        {"source_labels": ["a"], "target_label": "${1}", "replacement": "x"}
    )
    for legacy, expected in ((True, {"a": "b.c"}), (False, {"a": "b.c", "b.c": "x"})):
        labels = {"a": "b.c"}
        assert relabel(labels, compile_rules([config], legacy=legacy))
        assert labels == expected
