"""Object paths and keys: FORMAT's names, all of which TensorFlow restores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import (
    attribute_key,
    escape_name,
    join_path,
    key_path,
    name_fault,
    slot_path,
    split_path,
    unescape_name,
)

NAMES = [
    ("kernel", "kernel"),
    ("", ""),
    (".", ".."),
    ("..", "...."),
    ("/", ".S"),
    ("a.b", "a..b"),
    ("a/b", "a.Sb"),
    ("a.S", "a..S"),  # not the escape of "a/": that is a.S
    ("a.Sb", "a..Sb"),
    ("./", "...S"),
    ("/.", ".S.."),
    (".ATTRIBUTES", "..ATTRIBUTES"),
    ("x.ATTRIBUTES/y", "x..ATTRIBUTES.Sy"),
    ("größe", "größe"),
    ("a\nb", "a\nb"),
]


@pytest.mark.parametrize(("name", "escaped"), NAMES)
def test_escape(name, escaped):
    assert escape_name(name) == escaped
    assert unescape_name(escaped) == name


@pytest.mark.parametrize(
    ("escaped", "reason"),
    [
        (".", "'.' is not an escaped name: '.' at 0"),
        ("a.b", "'a.b' is not an escaped name: '.b' at 1"),
        ("a...", "'a...' is not an escaped name: '.' at 3"),
        (".s", "'.s' is not an escaped name: '.s' at 0"),
        (".\n", r"'.\\n' is not an escaped name: '.\n' at 0"),
    ],
)
def test_not_escaped(escaped, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        unescape_name(escaped)


@given(st.text())
def test_unescape_undoes_escape(name):
    assert unescape_name(escape_name(name)) == name
    assert "/" not in escape_name(name)


@given(st.lists(st.text(), min_size=1).filter(lambda names: names[0] != ""))
def test_split_undoes_join(names):
    path = ""
    for name in names:
        path = join_path(path, name)
    assert split_path(path) == names


def test_the_path_of_a_child_without_a_name_is_that_of_the_root():
    """So its children need to be told from the root's."""
    assert [join_path("", "a", of_root=each) for each in (True, False, None)] == ["a", "/a", "a"]


def test_the_root_has_no_names():
    assert split_path("") == []
    assert split_path("d/") == ["d", ""]  # but an object may have the empty name


@pytest.mark.parametrize(
    ("path", "name", "key"),
    [
        ("a", "VARIABLE_VALUE", "a/.ATTRIBUTES/VARIABLE_VALUE"),
        ("", "VARIABLE_VALUE", "/.ATTRIBUTES/VARIABLE_VALUE"),
        ("d/", "VARIABLE_VALUE", "d//.ATTRIBUTES/VARIABLE_VALUE"),
        ("py", "py_state", "py/.ATTRIBUTES/py_state"),
        ("t", "table-keys", "t/.ATTRIBUTES/table-keys"),
        ("t", "a/b.c", "t/.ATTRIBUTES/a.Sb..c"),
    ],
)
def test_attribute_key(path, name, key):
    assert attribute_key(path, name) == key
    assert key_path(key) == path


def test_key_path_ends_at_the_first_mark():
    """As in TensorFlow, which therefore can't restore an object whose name ends so."""
    assert key_path("x/.ATTRIBUTES/.ATTRIBUTES/V") == "x"
    assert key_path("x..ATTRIBUTES/.ATTRIBUTES/V") == "x..ATTRIBUTES"
    assert key_path("dense/kernel") is None
    assert key_path("x.ATTRIBUTES/V") is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x.ATTRIBUTES", "ends in '.ATTRIBUTES'"),
        (".ATTRIBUTES", "ends in '.ATTRIBUTES'"),
        ("\udcff", "UTF-8"),
        ("x.ATTRIBUTES.y", None),
        ("", None),
        ("ä/b.c", None),
    ],
)
def test_names_that_no_object_can_have(name, reason):
    fault = name_fault(name)
    assert fault is None if reason is None else reason in fault


def test_slot_path():
    path = slot_path("model/layer_with_weights-0/kernel", "optimizer", "m")
    assert path == "model/layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m"
    assert slot_path("v", "o", "a.b/c") == "v/.OPTIMIZER_SLOT/o/a..b.Sc"


def test_what_is_no_escaped_name_is_an_error_of_ours():
    """Also a `ValueError`, as other libraries raise for it."""
    with pytest.raises(BundleError) as caught:
        unescape_name("a.b")
    assert isinstance(caught.value, ValueError)
