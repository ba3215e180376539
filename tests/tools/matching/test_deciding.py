"""What `convert --template` and `suggest` make of generated pairs of programs, judged by the truth."""

import os

import pytest

from support.cost import growth
from support.depth import DEEP
from support.judging import judge, make_pair
from tensorbundle.tools.matching import labels
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item
from tensorbundle.tools.matching.words import scopes_in_front

PAIRS = int(os.environ.get("TENSORBUNDLE_PAIRS", "400" if DEEP else "48"))
AT_ONCE = 12


@pytest.fixture(scope="module")
def tally():
    """How many pairs the files tell, and of how many of these not all is found."""
    return {"told": 0, "refused": []}


@pytest.mark.parametrize("first", range(0, PAIRS, AT_ONCE))
def test_no_tensor_has_another_ones_values(first, tally, tmp_path):
    """Right or refused; and nothing that `suggest` calls certain or likely is wrong."""
    for seed in range(first, min(first + AT_ONCE, PAIRS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        pair = make_pair(seed, folder)
        verdict = judge(pair, folder)
        assert not verdict.faults, (pair.label, verdict.faults)
        tally["told"] += pair.told
        tally["refused"] += [pair.label] if verdict.refused else []
    assert len(tally["refused"]) <= 2 + tally["told"] / 20, tally["refused"]


@pytest.mark.parametrize(
    "seed", [5131, 6269, 6274, 6485, 30126, 31179, 31189, 31694, 40462, 60411, 60524, 62640, 64619]
)
def test_rare_pairs(seed, tmp_path):
    """Numbers that one side counts across nested models; layers of Keras 3 that changed places and kept their attributes;
    rules that name slots; a layer for another of other contents; blocks that changed places, with counted layers in them;
    layers in another order, of which one has no bias; globs that match another path of an object; layers that are left over
    in one model, whose names are those of others; blocks that changed places, while one got another attribute; a name
    without a number that one side has in a scope, too.
    """
    pair = make_pair(seed, tmp_path)
    assert not judge(pair, tmp_path).faults, pair.label


def test_known_pairs_stay():
    """Also where values say something else, or the same once more."""
    left = [Item(name, "kind", checksum=name, full_name=name) for name in "ab"]
    right = [Item(name, "kind", checksum=name, full_name=name) for name in "ab"]
    for known in ({"a": "a"}, {"a": "b"}, {"a": "a", "b": "b"}):
        found = match(left, right, known).matches
        assert {each.old: each.new for each in found}.keys().isdisjoint(known)


def test_a_name_without_a_scope_hides_no_scope():
    """As `global_step` is beside what TF1 code puts into one scope."""

    def items(*names):
        return [Item(name, "kind", full_name=name) for name in names]

    left = items("net/dense/kernel", "net/conv1d/kernel")
    for others in ([], ["global_step"]):
        right = items("tower/Conv/weights", "tower/fully_connected/weights", *others)
        found = match(left, right).matches
        assert {each.old: each.new for each in found if each.settled} == {
            "net/dense/kernel": "tower/fully_connected/weights",
            "net/conv1d/kernel": "tower/Conv/weights",
        }


def items(*rows):
    """Of rows of path, full name, and shape: `None` for no path."""
    return [
        Item(name if path is None else path, shape, full_name=name, path=path or "")
        for path, name, shape in rows
    ]


def settled(left, right):
    """The pairs that are taken, by full name, or by path where there is none."""
    decided = match(left, right)
    return {each.old: each.new for each in decided.matches if each.settled}


def test_the_first_of_a_family_says_no_more_than_the_others():
    """Keras calls the block that was made first `block`; numbers that the program gave contradict it."""
    left = items(("m/blocks/0/kernel", "net/block/kernel", 4), ("m/blocks/1/kernel", "net/block_1/kernel", 4))
    right = items(
        ("m/blocks/1/kernel", "net/block/kernel", 4), ("m/blocks/0/kernel", "net/block_1/kernel", 4)
    )
    assert settled(left, right) == {each.path: each.path for each in left}


def test_numbers_of_a_family_of_which_one_is_contradicted():
    """A layer was added in front, and another one removed: all numbers are those of other layers."""
    left = items(
        ("m/layer_with_weights-0/layer_with_weights-0/kernel", "conv1d/kernel", 4),
        ("m/layer_with_weights-1/layer_with_weights-0/kernel", "conv1d_1/kernel", 4),
        ("m/layer_with_weights-2/layer_with_weights-0/kernel", "conv1d_2/kernel", 4),
        ("m/layer_with_weights-3/kernel", "conv1d_3/kernel", 4),
    )
    right = items(
        ("m/layer_with_weights-0/kernel", "conv1d/kernel", 4),
        ("m/layer_with_weights-1/layer_with_weights-0/kernel", "conv1d_1/kernel", 4),
        ("m/layer_with_weights-2/layer_with_weights-0/kernel", "conv1d_2/kernel", 4),
        ("m/layer_with_weights-3/kernel", "conv1d_3/kernel", 4),
    )
    assert not settled(left, right)


def test_members_of_a_family_are_told_by_all_that_they_have():
    """Of two layers, the one with a bias has become the other one."""
    left = items(("a", "dense/kernel", 44), ("b", "dense/bias", 4), ("c", "dense_1/kernel", 44))
    right = items(("a", "dense/kernel", 44), ("c", "dense_1/kernel", 44), ("d", "dense_1/bias", 4))
    left, right = (
        [Item(each.full_name, each.kind, full_name=each.full_name) for each in side] for side in (left, right)
    )
    assert settled(left, right) == {
        "dense/bias": "dense_1/bias",
        "dense/kernel": "dense_1/kernel",
    }


def test_a_name_of_keras_while_other_names_are_unknown():
    """Either the head got the name of its class, or the layer that had it was removed and another one added."""
    left = items(*[(None, name, 4) for name in ("query/weights", "fully_connected/weights", "head/weights")])
    right = items(
        *[
            (f"m/layer-{n}/kernel", name, 4)
            for n, name in enumerate(("query/kernel", "memory/kernel", "dense/kernel"))
        ]
    )
    assert settled(left, right) == {"query/weights": "m/layer-0/kernel"}
    assert settled(left[:2], right[::2]) == {
        "query/weights": "m/layer-0/kernel",
        "fully_connected/weights": "m/layer-2/kernel",
    }


def test_names_that_several_models_share_on_one_side_only():
    """Below its model, each name is the one that the other side has: two layers changed places."""
    left = items(
        *[
            (f"{model}/_operations/{number}/_kernel", f"{model}/{name}/kernel", 4)
            for model in ("generator", "discriminator")
            for number, name in enumerate(("proj", "key"))
        ]
    )
    right = items(
        *[
            (f"{model}/layer_with_weights-{number}/kernel", f"{name}/kernel", 4)
            for model, names in (("generator", ("key", "proj")), ("discriminator", ("proj", "key")))
            for number, name in enumerate(names)
        ]
    )
    assert settled(left, right) == {
        "generator/_operations/0/_kernel": "generator/layer_with_weights-1/kernel",
        "generator/_operations/1/_kernel": "generator/layer_with_weights-0/kernel",
        "discriminator/_operations/0/_kernel": "discriminator/layer_with_weights-0/kernel",
        "discriminator/_operations/1/_kernel": "discriminator/layer_with_weights-1/kernel",
    }


@pytest.mark.parametrize("names", [("stage_0", "stage_1"), ("stage_1", "stage_0")])
def test_positions_in_another_order_than_numbers(names):
    """The source stores no names of blocks; positions tell them as long as names of the other side agree with these."""
    left = items(
        *[(f"m/layer_with_weights-{n}/layer_with_weights-0/kernel", "neck/kernel", 4) for n in (0, 1)]
    )
    right = items(
        *[(f"m/_operations/{n}/_operations/0/_kernel", f"{names[n]}/neck/kernel", 4) for n in (0, 1)]
    )
    pairs = {one.path: other.path for one, other in zip(left, right, strict=True)}
    assert settled(left, right) == (pairs if names == ("stage_0", "stage_1") else {})


def test_what_every_layer_has_is_no_word_of_its_name():
    """The bias of a layer that was removed is not that of a new one."""
    left = items(("a/key/kernel", "a/key/kernel", 44), ("a/key/bias", "a/key/bias", 4))
    right = items(("b/new/_kernel", "b/kernel", 44), ("b/new/bias", "b/bias", 4), ("c", "c", 3))
    assert not settled(left, right + items(("b/old/bias", "b/old/bias", 5)))


def nested(*layers):
    """The variables of layers as Keras 2 stores them: rows of path, name, and number of outputs."""
    return items(
        *[
            (f"m/{path}/{role}", f"{name}/{role}", (name.startswith("conv"), role, size))
            for path, name, size in layers
            for role in ("kernel", "bias")
        ]
    )


def scoped(*layers):
    """The variables of layers as TF-Slim and TF1 store them: rows of name and number of outputs."""
    return items(
        *[
            (None, f"{name}/{role}", (name.lower().split("/")[-1].startswith("conv"), role, size))
            for name, size in layers
            for role in ("kernel", "bias")
        ]
    )


def test_numbers_that_go_on_in_nested_models():
    """Keras 2 counts dense layers inside and outside of a nested model as one family, TF-Slim each scope's."""
    left = nested(
        ("layer_with_weights-0/layer_with_weights-0", "dense", 4),
        ("layer_with_weights-0/layer_with_weights-1", "conv1d", 4),
        ("layer_with_weights-1", "dense_1", 4),
    )
    inside = [("sequential/fully_connected", 4), ("sequential/Conv", 4)]
    right = scoped(("fully_connected", 4), ("fully_connected_1", 4), *inside)
    assert not settled(left, right)
    assert not settled(right, left)


def test_a_layer_that_only_one_side_has_beside_nested_ones():
    """The head has got another size and another number; a new layer has the head's old size."""
    left = nested(
        ("layer_with_weights-0", "dense", 4),
        ("layer_with_weights-1/layer_with_weights-0", "dense_1", 4),
        ("layer_with_weights-2", "dense_2", 2),
    )
    heads = [("fully_connected_1", 2), ("fully_connected_2", 7)]
    right = scoped(("fully_connected", 4), *heads, ("sequential/fully_connected", 4))
    assert not settled(left, right)


def test_an_outer_layer_is_not_the_one_inside():
    """Even if it is the only one of its name whose shape is left."""
    left = scoped(("block_2/dense_2", 4), ("dense_3", 4))
    right = nested(
        ("layer_with_weights-0/layer_with_weights-0", "dense_2", 4), ("layer_with_weights-1", "dense_4", 7)
    )
    assert not settled(left, right)


def test_names_in_scopes_that_both_sides_have_are_told():
    """Where no side leaves out scopes, one more nested layer casts no doubt on the others."""
    left = scoped(("dense", 4), ("dense_1", 4), ("block/dense", 4))
    right = scoped(("dense", 4), ("dense_1", 4), ("block/dense", 4), ("tower/dense", 4))
    assert settled(left, right) == {each.full_name: each.full_name for each in left}


def test_names_that_are_compared_with_none_get_no_labels(monkeypatch):
    made = []
    label = labels.Label
    monkeypatch.setattr(labels, "Label", lambda *args: made.append(args) or label(*args))
    many = [Item(f"s{number}/v", "kind", full_name=f"s{number}/v") for number in range(500)]
    few = [Item(name, "kind", full_name=name) for name in ("s7/v", "w")]
    for left, right in ((many, few), (few, many)):
        made.clear()
        assert [(each.old, each.new) for each in match(left, right).matches] == [("s7/v", "s7/v")]
        assert len(made) < 20


def test_a_name_in_many_scopes_takes_time_in_proportion():
    """All of these scopes claim the same variable."""

    def prepare(count):
        left = {number: f"a{number}/dense" for number in range(count)}
        return lambda: list(scopes_in_front(left, {-1: "dense"}, lambda one, other: True))

    assert prepare(2)() == []
    assert prepare(1)() == [(0, -1)]
    assert growth(prepare, 100) < 6
