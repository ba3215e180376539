"""Steps as values: made from whatever a person may write, or refused with a reason."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from tensorbundle.tools.cli.arguments import load, parser_of
from tensorbundle.tools.operations.steps.recipe import STEPS, step_of

WORDS = [
    "to",
    "tf2",
    "with",
    "into",
    "of",
    "axis",
    "slices",
    "value",
    "dtype",
    "regex",
    "map",
    "old_vocab",
    "a/",
    "*",
    "",
]
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.sampled_from(WORDS), st.binary(max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(sorted(STEPS)), VALUES)
def test_any_value_is_a_step_or_refused(name, value):
    try:
        step = step_of(name, value)
    except tb.BundleError:
        return
    assert isinstance(step, STEPS[name])
    assert step == step_of(name, value) or "nan" in repr(value)


@pytest.mark.parametrize("value", [np.int64(2), np.array(2)], ids=repr)
def test_whole_numbers_of_numpy_are_whole_numbers(value):
    assert step_of("reshard", value) == step_of("reshard", 2)


@pytest.mark.parametrize(
    ("argv", "table"),
    [
        ("cast A B *=float16 x=y=float64", {"*": "float16", "x=y": "float64"}),
        ("concat A B new a b --axis -1", {"new": {"of": ["a", "b"], "axis": -1}}),
        ("drop A B x* y", ["x*", "y"]),
        ("extract A B x", "x"),
        ("slim A B", True),
        ("compact A B", True),
        ("rename A B a=b c/=d/ --regex x=>y", {"a": "b", "c/": "d/", "regex": {"x": "y"}}),
        ("partition A B e=4 f=2:-1", {"e": 4, "f": {"slices": 2, "axis": -1}}),
        ("reshape A B w=2,-1 n=[] m=[3]", {"w": [2, -1], "n": [], "m": [3]}),
        ("reshard A B --max-shard-size 1KiB --cut", {"max_shard_size": 1024, "cut": True}),
        ("resize A B e --old-vocab F --new-vocab G", {"e": {"old_vocab": "F", "new_vocab": "G"}}),
        ("set A B n=1 m=0:int64", {"n": "1", "m": "0:int64"}),
        ("split A B k a=1 b=-1 --axis 1", {"k": {"into": {"a": 1, "b": -1}, "axis": 1}}),
        ("transpose A B w=1,0", {"w": [1, 0]}),
        ("unpartition A B", True),
        ("unpartition A B p*", "p*"),
        ("merge A x=C D B --prefer last", {"with": {"x": "C", "": "D"}, "prefer": "last"}),
        ("average A C B --accumulator float32", {"with": ["C"], "accumulator": "float32"}),
        ("convert A B --to v2", "v2"),
        (
            "convert A B --to tf2 --template T --allow-missing --beta-1 0.5 --no-save-counter",
            {"to": "tf2", "template": "T", "allow_missing": True, "beta_1": 0.5, "save_counter": False},
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else json.dumps(each),
)
def test_the_command_line_and_a_recipe_make_equal_steps(argv, table):
    name, *arguments = argv.split(" ")
    parsed = parser_of(name, load(name)).parse_args(arguments)
    assert STEPS[name].from_arguments(vars(parsed)) == step_of(name, table)


def test_every_step_is_compared():
    marks = test_the_command_line_and_a_recipe_make_equal_steps.pytestmark
    assert {argv.split(" ")[0] for argv, _ in marks[0].args[1]} == STEPS.keys()
