"""The order of an optimizer's variables in Keras 3, for optimizers of every generation."""

import math

import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from tensorbundle.errors import UnsupportedError
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.optimizers.ordering import (
    Member,
    groups_in_weights,
    members_of,
    nadam_product,
    variants,
)
from tensorbundle.tools.rewriting.draft import Draft


def optimizer_in(name):
    """An optimizer of `golden/optimizers`, and the keys of the variables that it trains, in order."""
    with tb.open(GOLDEN / "optimizers" / name) as checkpoint:
        optimizers = Optimizers.of_draft(Draft.of(checkpoint))
        keys = {int(checkpoint[key].flat[0]): key for key in checkpoint if checkpoint.entry(key).shape}
        order = [keys[number] for number in (1, 2, 3)]
    return next(each for each in optimizers.found if each.node is not None), order


def members(name):
    wrapper, own = members_of(*optimizer_in(name), same_order=True)
    return [each.what for each in wrapper], [each.what for each in own]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("keras2-adam", "keras3-adam"),
        ("keras2-adamax", "keras3-adamax"),
        ("keras2-nadam", "keras3-nadam"),
        ("keras2-lion", "keras3-sgd-momentum"),  # lists of one role, whichever it is
        ("keras2-sgd", "keras3-sgd-momentum"),
        ("keras2-rmsprop", "keras3-rmsprop"),
        ("keras2-adagrad", "keras3-adagrad"),
        ("keras2-adadelta", "keras3-adadelta"),
        ("keras2-ftrl", "keras3-ftrl"),
        ("keras2-loss-scale", "keras3-loss-scale"),
        ("legacy-adam", "keras3-adam"),
        ("legacy-adamax", "keras3-adamax"),
        ("legacy-nadam", "keras3-nadam"),
        ("legacy-sgd", "keras3-sgd"),
        ("legacy-sgd-momentum", "keras3-sgd-momentum"),
        ("legacy-rmsprop", "keras3-rmsprop"),
        ("legacy-adagrad", "keras3-adagrad"),
        ("legacy-adadelta", "keras3-adadelta"),
        ("legacy-ftrl", "keras3-ftrl"),
        ("legacy-loss-scale", "keras3-loss-scale"),
        ("legacy-lookahead", "keras3-adam"),
    ],
)
def test_generations_agree(old, new):
    """Keras 3 lists its variables itself; that of other generations must come to the same roles in the same order."""
    assert members(old) == members(new)


def test_all_roles_of_adam_in_order():
    _, found = members("keras2-adam-all")
    slots = ["average"] * 3 + ["m", "v"] * 3 + ["vhat"] * 3
    assert found == ["iterations", *slots]  # the learning rate is a schedule


def test_lists_follow_the_order_of_keras_3():
    optimizer, order = optimizer_in("keras2-adam-all")
    slots = {slot: each for each, slot in optimizer.slots.items()}
    _, found = members_of(optimizer, order[::-1], same_order=False)
    assert [slots[each.key] for each in found[1:]] == [
        *(("average", key) for key in order[::-1]),
        *((role, key) for key in order[::-1] for role in ("m", "v")),
        *(("vhat", key) for key in order[::-1]),
    ]
    optimizer.slots.popitem()
    with pytest.raises(UnsupportedError, match="not known which variables it is of"):
        members_of(optimizer, order, same_order=False)


def test_adafactor_has_scalars_for_vectors():
    _, own = members_of(*optimizer_in("keras2-adafactor"), same_order=True)
    assert [each.what for each in own[2:]] == ["vr", "vc", "v"] * 3
    assert own[8].key.startswith("optimizer/_r/2/")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tf1-adam-object", "without a number of steps"),
        ("keras2-adam-all", "that some variables have and others don't have"),
        ("legacy-adam", "of variables that the model does not have"),
        ("legacy-sgd-momentum", r"that Keras 3 has no optimizer for \(new\)"),
    ],
)
def test_state_that_is_not_complete_is_refused(name, reason):
    optimizer, trained = optimizer_in(name)
    if "that some" in reason:
        del optimizer.lists["vhat"][1]
    elif "of variables" in reason:
        trained = trained[:2]
    elif "(new" in reason:
        optimizer.slots = {("new", variable): slot for (_, variable), slot in optimizer.slots.items()}
    with pytest.raises(UnsupportedError, match=reason):
        members_of(optimizer, trained, same_order=True)


def test_variants():
    steps, rate, slot = Member("iterations", "i"), Member("learning_rate", "l"), Member("momentum", "s")
    product = Member("momentum_cache", "p")
    assert list(variants([steps, rate, slot])) == [[steps, rate, slot], [steps, slot], [steps, rate], [steps]]
    assert list(variants([steps, product])) == [
        [steps, product],
        [steps, product],
        [steps, Member("learning_rate", ""), product],
        [steps, Member("learning_rate", ""), product],
    ]


def test_groups_are_in_the_order_of_numbers():
    names = [f"optimizer/vars/{number}" for number in (10, 9, 0)]
    assert groups_in_weights([*names, "vars/0", "optimizer/vars/x"]) == {"optimizer/vars": names[::-1]}
    assert groups_in_weights(["optimizer/inner_optimizer/vars/0"]) == {}


@pytest.mark.slow
def test_nadam_product():
    assert nadam_product(0, 0.9) == 1
    assert nadam_product(2, 0.9) == pytest.approx(0.9 * (1 - 0.48) * 0.9 * (1 - 0.5 * 0.96**2))
    assert nadam_product(1, 0.9, 0.004) == pytest.approx(0.9 * (1 - 0.5 * 0.96**0.004))
    assert nadam_product(2**62, 0.9) == 0
    assert math.isfinite(nadam_product(10**7, 1.0))
