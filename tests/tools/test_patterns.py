"""PATTERN."""

import re

import pytest

import tensorbundle as tb
from tensorbundle.proto.naming import Naming
from tensorbundle.tools.patterns import Pattern, select

KEYS = [
    "_CHECKPOINTABLE_OBJECT_GRAPH",
    "a",
    "dense/kernel",
    "dense/kernel/Adam",
    "dense_1/bias",
    "line\nbreak",
    "model/w.Sx/.ATTRIBUTES/VARIABLE_VALUE",
    "model/w[0]/.ATTRIBUTES/VARIABLE_VALUE",
    "\udcff",
]


NAMING = Naming(KEYS, lambda: None, "ckpt")


def fitting(*patterns):
    return [key for key, _ in select(((key, None) for key in KEYS), patterns, NAMING)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", KEYS),
        ("a", ["a"]),
        ("dense*", KEYS[2:5]),
        ("*/kernel", ["dense/kernel"]),  # all of the key
        ("*kernel*", KEYS[2:4]),  # '*' crosses '/'
        ("dense?kernel", ["dense/kernel"]),
        ("dense[_/]*", KEYS[2:5]),
        ("dense[!_]*", KEYS[2:4]),
        ("line*", ["line\nbreak"]),
        ("line?break", ["line\nbreak"]),
        ("model/*", KEYS[6:8]),
        ("model/w.Sx", [KEYS[6]]),  # the object's path
        ("model/w[[]0]", [KEYS[7]]),
        ("*VARIABLE_VALUE", KEYS[6:8]),
        ("\udcff", ["\udcff"]),
        ("re:ker", KEYS[2:4]),  # searched for
        ("re:^dense/kernel$", ["dense/kernel"]),
        ("re:line.break", ["line\nbreak"]),
        ("re:(?i)DENSE_", ["dense_1/bias"]),
        (r"re:Sx$", [KEYS[6]]),  # the end of the path
        ("re:", KEYS),
    ],
)
def test_what_fits(pattern, expected):
    assert fitting(pattern) == expected


def test_several_patterns_keep_the_order_and_give_each_key_once():
    assert fitting("re:Adam", "dense/*", "a") == ["a", "dense/kernel", "dense/kernel/Adam"]


def test_no_pattern_means_all():
    assert fitting() == KEYS


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        (["b*c"], "no tensor matches the pattern 'b*c'"),
        (
            ["a", "kernel"],
            (
                "no tensor matches the pattern 'kernel'; near: 'dense/kernel', 'dense/kernel/Adam'; "
                "'*kernel*' matches names that contain it"
            ),
        ),
        (
            ["*dense/krenel*"],
            "no tensor matches the pattern '*dense/krenel*'; near: 'dense/kernel', 'dense/kernel/Adam'",
        ),
        (
            ["DENSE*"],
            "no tensor matches the pattern 'DENSE*'; near: 'dense/kernel', 'dense_1/bias', 'dense/kernel/Adam'",
        ),
    ],
)
def test_a_pattern_that_fits_nothing(patterns, reason):
    found = select(((key, None) for key in KEYS), patterns, NAMING)
    with pytest.raises(tb.TensorNotFoundError) as caught:
        list(found)
    assert (caught.value.path, caught.value.reason) == ("ckpt", reason)


def test_what_fits_comes_before_the_error():
    found = select(((key, None) for key in KEYS), ["a", "nothing"], NAMING)
    assert next(found) == ("a", None)


@pytest.mark.parametrize("text", ["re:(", "re:[", "re:*", r"re:\g"])
def test_no_regular_expression(text):
    with pytest.raises(
        tb.BundleError, match=rf"^pattern {re.escape(repr(text))} is not a regular expression: "
    ):
        Pattern(text, NAMING)


def test_use_is_remembered():
    pattern = Pattern("a*", NAMING)
    assert not pattern.matches("b")
    assert not pattern.used
    assert pattern.matches("abc")
    assert not pattern.matches("b")
    assert pattern.used
