"""What optimizers keep, told from names and from object graphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.rewriting import finished, keras_like, tree, variable
from tensorbundle.proto.graph import Node, ObjectGraph, Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools.optimizers.slots import (
    add_iterations,
    add_slots,
    class_of,
    optimizers_in_graph,
    optimizers_in_names,
)


def by_names(*names):
    return optimizers_in_names({name: name for name in names})


def native(*names):
    """The slots of TF1's optimizers."""
    return by_names(*names)[0].slots


class TestNames:
    @pytest.mark.parametrize(
        ("slots", "roles"),
        [
            (["Adam", "Adam_1"], ["m", "v"]),
            (["AdamW", "AdamW_1"], ["m", "v"]),
            (["LAMB", "LAMB_1"], ["m", "v"]),
            (["adam_m", "adam_v"], ["m", "v"]),
            (["lamb_m", "lamb_v"], ["m", "v"]),
            (["m", "v"], ["m", "v"]),
            (["Momentum"], ["gradient_sum"]),
            (["RMSProp", "RMSProp_1"], ["rms", "rms_momentum"]),
            (["RMSProp", "RMSProp_1", "RMSProp_2"], ["rms", "mg", "rms_momentum"]),
            (["Adagrad"], ["accumulator"]),
            (["Adadelta", "Adadelta_1"], ["accum_grad", "accum_var"]),
            (["Ftrl", "Ftrl_1"], ["accumulator", "linear"]),
            (["ExponentialMovingAverage"], ["average"]),
            (["Adam_2", "Adam_3"], []),  # of a second optimizer, nobody knows which
            (["Other", "AdamX", "adam", "Adam_", "Adam_x"], []),
        ],
        ids="-".join,
    )
    def test_slots_of_tf1(self, slots, roles):
        for name in ("kernel", "a/b.c/kernel", "Adam/m"):
            names = [f"{name}/{slot}" for slot in slots]
            expected = {(role, name): slot for role, slot in zip(roles, names, strict=False)}
            assert native(name, *names) == expected
            assert native(*names) == {}  # no slot without its variable
            assert native(name, *(f"scope/{each}" for each in names)) == {
                role: f"scope/{slot}" for role, slot in expected.items()
            }

    def test_of_a_scope_and_without_one(self):
        """The slot whose name says the whole variable is its slot, in any order."""
        assert native("k", "s/k", "s/k/Adam", "k/Adam") == {("m", "k"): "k/Adam", ("m", "s/k"): "s/k/Adam"}
        assert native("k", "t/k/Adam", "k/Adam") == {("m", "k"): "k/Adam"}

    def test_steps_and_powers(self):
        found = by_names("global_step", "x/global_step", "beta1_power", "beta2_power")[0]
        assert (found.iterations, found.powers) == ("global_step", [("beta1_power", "beta2_power")])
        found = by_names(
            "t/global_step", "head/beta1_power", "head/beta2_power", "beta1_power_1", "beta2_power_1"
        )[0]
        assert found.iterations == "t/global_step"
        assert found.powers == [("head/beta1_power", "head/beta2_power"), ("beta1_power_1", "beta2_power_1")]
        assert set(found.owned) == {each for pair in found.powers for each in pair}
        found = by_names("a/global_step", "b/global_step", "beta1_power", "x/beta2_power")[0]
        assert (found.iterations, found.powers) == (None, [])

    def test_legacy_ones_of_keras(self):
        """By the scope that has a number of steps."""
        names = ["d/k", "training/Adam/iter", "training/Adam/beta_1", "training/Adam/learning_rate"]
        slots = ["training/Adam/d/k/m", "training/Adam/d/k/v", "training/Adam/d/k/other"]
        tf1, adam = by_names(*names, *slots)
        assert (tf1.slots, tf1.iterations) == ({}, None)
        assert (adam.kind, adam.path, adam.iterations) == ("legacy", "training/Adam", "training/Adam/iter")
        assert adam.slots == {("m", "d/k"): slots[0], ("v", "d/k"): slots[1]}
        assert adam.scalars == {"beta_1": names[2], "learning_rate": names[3]}

    def test_momentum_of_rmsprop(self):
        names = ["k", "R/iter", "R/k/rms", "R/k/momentum", "S/iter", "S/k/momentum"]
        _, rmsprop, sgd = by_names(*names)
        assert rmsprop.slots == {("rms", "k"): "R/k/rms", ("rms_momentum", "k"): "R/k/momentum"}
        assert sgd.slots == {("momentum", "k"): "S/k/momentum"}

    def test_a_variable_called_iter_is_no_optimizer(self):
        assert [each.kind for each in by_names("a/iter", "a/w", "w/a")] == ["tf1"]

    @given(
        st.lists(st.sampled_from(["a", "b", "m", "v", "Adam", "Adam_1", "iter", "Momentum"]), max_size=4).map(
            "/".join
        )
    )
    def test_any_name(self, name):
        """A slot belongs to a variable that is there, and is not itself."""
        names = {name, "a", "a/b", "b"}
        for each in by_names(*names):
            for (_, owner), slot in each.slots.items():
                assert {owner, slot} <= names
                assert owner != slot

    def test_names_of_many_parts_take_no_time(self):
        by_names("a/" * 200_000 + "Adam", "a/iter", "a", "b/" * 200_000 + "iter")


def in_graph(root):
    graph = finished(root)
    names = {
        each.checkpoint_key: each.full_name
        for path, _, each in graph.attributes()
        if each.name == "VARIABLE_VALUE" and path != "save_counter"
    }
    return graph, optimizers_in_graph(graph, names)


def paths(slots):
    """Without the ends of keys."""
    end = len(attribute_key(""))
    return {(role, variable[:-end]): key[:-end] for (role, variable), key in slots.items()}


def numbered(*nodes):
    return Node(children={str(number): node for number, node in enumerate(nodes)})


class TestGraphs:
    def test_legacy(self):
        _, [found] = in_graph(keras_like())
        assert (found.kind, found.path, found.ran) == ("legacy", "optimizer", True)
        assert found.iterations == attribute_key("optimizer/iter")
        assert found.scalars == {"decay": attribute_key("optimizer/decay")}
        assert paths(found.slots) == {
            (name, f"model/layer-0/{each}"): f"model/layer-0/{each}/.OPTIMIZER_SLOT/optimizer/{name}"
            for name in ("m", "v")
            for each in ("kernel", "bias")
        }

    def test_legacy_momentum_of_rmsprop(self):
        kernel = variable("k")
        optimizer = tree({"iter": None, "decay": None})
        optimizer.slots = [Slot(name, kernel, variable()) for name in ("momentum", "rms")]
        _, [found] = in_graph(tree({"k": kernel, "o": optimizer}))
        assert {role for role, _ in found.slots} == {"rms", "rms_momentum"}

    @pytest.mark.parametrize(
        ("slots", "roles"),
        [
            (["m", "v"], ["m", "v"]),
            (["momentum"], ["gradient_sum"]),
            (["rms", "momentum"], ["rms", "rms_momentum"]),
            (["rms", "mg", "momentum"], ["rms", "mg", "rms_momentum"]),
            (["accumulator"], ["accumulator"]),
            (["accum", "accum_update"], ["accum_grad", "accum_var"]),
            (["accum", "linear"], ["accumulator", "linear"]),
        ],
        ids="-".join,
    )
    @pytest.mark.parametrize("powers", [True, False])
    def test_of_tf1(self, slots, roles, powers):
        """As an object, which has powers of beta at most."""
        kernel = variable("k")
        optimizer = tree({"beta1_power": None, "beta2_power": None} if powers else {})
        optimizer.slots = [Slot(name, kernel, variable(f"k/{name}")) for name in slots]
        _, [found] = in_graph(tree({"k": kernel, "o": optimizer}))
        assert (found.kind, found.path, found.iterations, found.scalars) == ("tf1", "o", None, {})
        assert found.powers == (
            [(attribute_key("o/beta1_power"), attribute_key("o/beta2_power"))] if powers else []
        )
        assert paths(found.slots) == {
            (role, "k"): f"k/.OPTIMIZER_SLOT/o/{slot}" for role, slot in zip(roles, slots, strict=True)
        }
        assert found.possible_roles() == set()

    @pytest.mark.parametrize(
        ("lists", "roles"),
        [
            (["_momentums", "_velocities"], ["m", "v"]),
            (["_momentums", "_velocities", "_velocity_hats"], ["m", "v", "vhat"]),
            (["momentums"], ["momentum"]),
            (["_velocities", "_momentums", "_average_gradients"], ["rms", "rms_momentum", "mg"]),
            (["_accumulators"], ["accumulator"]),
            (["_accumulators", "_linears"], ["accumulator", "linear"]),
            (["_accumulated_grads", "_accumulated_delta_vars"], ["accum_grad", "accum_var"]),
            (["_m", "_u"], ["m", "v"]),
        ],
        ids="-".join,
    )
    @pytest.mark.parametrize("keras_3", [True, False])
    def test_newer_ones(self, lists, roles, keras_3):
        """Keras 3 says which variable is at which place; tf_keras has the variable's name in that of the slot."""
        kernel, bias = variable("seq/d/kernel"), variable("seq/d/bias")
        optimizer = tree({"_iterations": None, "_learning_rate": None, "_u_product": None, "_variables": {}})
        names = ["", ""] if keras_3 else ["Opt/{}/seq/d/kernel", "{}/seq/d/bias"]
        for name in lists:
            slots = [variable(each.format(name)) for each in names]
            optimizer.children[name] = numbered(*slots)
            children = optimizer.children["_variables"].children
            children |= {str(len(children) + number): each for number, each in enumerate(slots)}
        if keras_3:
            optimizer.children["_trainable_variables"] = numbered(kernel, bias)
        _, [found] = in_graph(tree({"m": {"kernel": kernel, "bias": bias}, "o": optimizer}))
        assert (found.kind, found.path) == ("keras", "o")
        assert found.iterations == attribute_key("o/_iterations")
        assert {name: key for name, key in found.scalars.items() if name != "momentum_cache"} == {
            "learning_rate": attribute_key("o/_learning_rate")
        }
        assert paths(found.slots) == {
            (role, f"m/{each}"): f"o/_variables/{2 * number + place}"
            for number, role in enumerate(roles)
            for place, each in enumerate(["kernel", "bias"])
        }

    def test_variables_of_one_name_come_in_order(self):
        """As two layers of one name have them in tf_keras."""
        kernels = [variable("d/kernel"), variable("d/kernel")]
        slots = [variable("Adam/m/d/kernel"), variable("Adam/m/d/kernel")]
        optimizer = tree({"_iterations": None, "_variables": {}})
        optimizer.children["_momentums"] = numbered(*slots)
        _, [found] = in_graph(Node(children={"a": kernels[0], "b": kernels[1], "o": optimizer}))
        assert paths(found.slots) == {("m", "a"): "o/_momentums/0", ("m", "b"): "o/_momentums/1"}

    def test_places_without_a_variable(self):
        """Keras 3 has none in a list for variables that are not trained so."""
        optimizer = tree({"_iterations": None, "_variables": {}})
        optimizer.children["_momentums"] = Node(children={"1": variable(), "2": Node(), "7": variable("x")})
        optimizer.children["_trainable_variables"] = numbered(variable(), variable(), variable())
        _, [found] = in_graph(Node(children={"o": optimizer}))
        assert paths(found.slots) == {("m", "o/_trainable_variables/1"): "o/_momentums/1"}

    @pytest.mark.parametrize(
        "name", ["optimizer", "opt", "Optimizer", "optim", "my_optimizer", "opt_1", "optimizer2"]
    )
    def test_one_that_has_not_run(self, name):
        _, [found] = in_graph(tree({"w": None, name: {}, "options": {}, "adopt": {}}))
        assert (found.kind, found.path, found.ran) == ("legacy", name, False)

    def test_several_that_have_not_run(self):
        assert in_graph(tree({"w": None, "optimizer": {}, "opt": {}}))[1] == []
        assert in_graph(tree({"w": None, "other": {}}))[1] == []

    def test_no_optimizers(self):
        assert (
            in_graph(
                tree({"iter": {"w": None}, "loop": {"iter": None, "w": None}, "optimizer": {"w": None}})
            )[1]
            == []
        )


class TestAddSlots:
    def test_as_tensorflow_writes_them(self):
        """The same graph as that of an optimizer that has run, but for what only it knows."""
        ran = keras_like()
        ran.children["optimizer"].children = {"iter": variable("Adam/iter")}
        for slot in ran.children["optimizer"].slots:
            slot.slot.attributes[0].full_name = f"Adam/{slot.variable.attributes[0].full_name}/{slot.name}"
        expected = finished(ran)

        idle = keras_like()
        idle.children["optimizer"] = Node()
        graph, [optimizer] = in_graph(idle)
        layer = "model/layer-0"
        wanted = [
            (role, attribute_key(f"{layer}/{name}")) for name in ("bias", "kernel") for role in ("v", "m")
        ]
        made = add_slots(graph, optimizer, wanted)
        assert add_iterations(graph, optimizer) == attribute_key("optimizer/iter")
        assert graph.encode() == expected.encode()
        assert set(made) == set(wanted)
        assert optimizer.slots == made
        assert optimizer.iterations == attribute_key("optimizer/iter")

    @pytest.mark.parametrize(
        ("roles", "name"),
        [
            (["m", "v"], "Adam"),
            (["momentum"], "SGD"),
            (["rms", "rms_momentum"], "RMSprop"),
            (["mg"], "RMSprop"),
            (["accumulator", "linear"], "Ftrl"),
            (["linear"], "Ftrl"),
            (["accum_var"], "Adadelta"),
            (["m", "linear"], None),
        ],
    )
    def test_scope_of_names(self, roles, name):
        """That of its class, unless there is a number of steps whose name has another."""
        for steps in (None, "", "my/"):
            root = tree({"w": None, "opt": {} if steps is None else {"iter": variable(f"{steps}iter")}})
            graph, [optimizer] = in_graph(root)
            key = attribute_key("w")
            add_slots(graph, optimizer, [(role, key) for role in roles])
            if steps is None:
                add_iterations(graph, optimizer)
            scope = steps if steps is not None else f"{name}/" if name else ""
            assert class_of(roles) == name
            slots = graph["opt"].slots
            assert graph["opt/iter"].attributes[0].full_name == f"{scope}iter"
            assert [each.slot.attributes[0].full_name for each in slots] == [
                f"{scope}w/{each.name}" for each in slots
            ]
            again = ObjectGraph.parse(graph.encode())
            names = {each.checkpoint_key: each.full_name for _, _, each in again.attributes()}
            assert optimizers_in_graph(again, names)[0].slots.keys() >= {
                (role, key) for role in roles if role != "rms_momentum"
            }

    @pytest.mark.parametrize(
        ("scalars", "roles"),
        [
            (["beta_1", "beta_2"], {"m", "v", "vhat"}),
            (["momentum"], {"momentum"}),
            (["momentum", "rho"], {"rms", "mg", "rms_momentum"}),
            (["rho"], {"accum_grad", "accum_var"}),
            (["l1_regularization_strength", "beta"], {"accumulator", "linear"}),
            ([], {"accumulator"}),
        ],
    )
    def test_what_hyperparameters_tell(self, scalars, roles):
        names = dict.fromkeys(["iter", "learning_rate", "decay", *scalars])
        _, [optimizer] = in_graph(tree({"w": None, "o": names}))
        assert optimizer.possible_roles() == roles
        optimizer.slots["m", "w"] = "x"
        assert optimizer.possible_roles() == {"m"}
        optimizer.kind = "keras"
        assert optimizer.possible_roles() == set()
