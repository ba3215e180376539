"""`Ends` against trying every end of a name."""

import itertools

import pytest

from tensorbundle.tools.optimizers.ends import Ends


def every_end(name):
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def test_ends_are_the_same_as_when_all_are_tried():
    some = [
        "/".join(parts)
        for size in range(1, 4)
        for parts in itertools.product(("a", "b", "ab", ""), repeat=size)
    ]
    names = some[::3]
    ends = Ends(names)
    for name in some:
        assert list(ends.of(name)) == [each for each in every_end(name) if each in names]


def test_few_of_many_parts_are_looked_at():
    deep = "a/" * 100_000 + "b"
    assert list(Ends([deep, "a/b", "b", "c/b"]).of(deep)) == [deep, "a/b", "b"]
    assert list(Ends([]).of(deep)) == []


@pytest.mark.parametrize(
    ("name", "found"), [("scope/dense/kernel", "dense/kernel"), ("mydense/kernel", "kernel")]
)
def test_an_end_begins_with_a_part(name, found):
    assert next(Ends(["dense/kernel", "kernel"]).of(name)) == found
