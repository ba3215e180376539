"""What optimizers keep, told from names and from object graphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.rewriting import finished, keras_like, tree, variable
from tensorbundle.proto.graph import Node, ObjectGraph, Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools.optimizers.classes import class_names
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.optimizers.making import add_iterations, add_slots, class_of
from tensorbundle.tools.optimizers.naming import optimizers_in_names


def by_names(*names, **shapes):
    return optimizers_in_names({name: name for name in names}, shapes)


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
            (["LARSOptimizer"], ["gradient_sum"]),
            (["Adam", "Adam_1", "Adam_2"], ["m", "v", "gradient_accumulator"]),
            (["Adafactor"], ["v"]),
            (["Adafactor", "Adafactor_1"], ["vr", "vc"]),
            (["Adafactor", "Adafactor_1", "Adafactor_2"], ["m", "vr", "vc"]),
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
        assert (adam.generation, adam.path, adam.iterations) == (
            "legacy",
            "training/Adam",
            "training/Adam/iter",
        )
        assert adam.slots == {("m", "d/k"): slots[0], ("v", "d/k"): slots[1]}
        assert adam.scalars == {"beta_1": names[2], "learning_rate": names[3]}

    def test_further_optimizers_of_the_same_variables(self):
        """Numbers go on where two optimizers train one variable; a scope is put before its name."""
        names = ["k/Adam_1", "k/Adam_2", "k/Adam", "k/Adam_3", "t/k/Adam", "k/ExponentialMovingAverage"]
        found = by_names("k", *names)
        assert [(each.generation, each.path, each.slots) for each in found] == [
            ("tf1", "", {("m", "k"): "k/Adam", ("v", "k"): "k/Adam_1"}),
            ("tf1", "Adam_1", {("m", "k"): "k/Adam_2", ("v", "k"): "k/Adam_3"}),
            ("average", "ExponentialMovingAverage", {("average", "k"): "k/ExponentialMovingAverage"}),
            ("tf1", "t/Adam", {("m", "k"): "t/k/Adam"}),
        ]

    def test_mesh(self):
        found = by_names("k", "k_slot_v", "e", "e_slot_vr", "e_slot_vc", "e_slot_m", "x_slot_q")[0]
        assert found.slots == {
            ("v", "k"): "k_slot_v",
            ("mesh_vr", "e"): "e_slot_vr",
            ("mesh_vc", "e"): "e_slot_vc",
            ("m", "e"): "e_slot_m",
        }

    @pytest.mark.parametrize(
        ("names", "orphans"),
        [
            (["o/Adam", "o/Adam_1", "w", "w/Adam", "w/Adam_1"], ["o/Adam", "o/Adam_1"]),
            (["o/Adam", "o/Adam_1", "beta1_power", "beta2_power"], ["o/Adam", "o/Adam_1"]),
            (["o/Adam", "o/Adam_1"], []),  # no other sign of an Adam
            (["o/Adam", "w", "w/Adam", "w/Adam_1"], []),  # one of two
            (["o/adam_m", "o/adam_v"], ["o/adam_m", "o/adam_v"]),
            (["o/adam_m"], []),
            (["o/m", "o/v", "w", "w/m", "w/v"], []),  # weights may be called so
            (["o/Momentum", "w", "w/Momentum"], ["o/Momentum"]),
            (
                ["o/ExponentialMovingAverage", "w", "w/ExponentialMovingAverage"],
                [],
            ),  # instead of its variable
        ],
        ids="-".join,
    )
    def test_slots_of_variables_that_are_not_stored(self, names, orphans):
        assert sorted(by_names(*names)[0].orphans) == orphans

    def test_keras_in_tf1_code(self):
        """Slots without a name of their own may be those of any variable of their shape."""
        names = ["d/k", "e/k", "SGD/iterations", "SGD/lr", "training/SGD/Variable", "training/SGD/d/b/m"]
        shapes = {"d/k": (2,), "e/k": (2,), "training/SGD/Variable": (2,)}
        _, counting, training = optimizers_in_names({name: name for name in names}, shapes)
        assert (counting.path, counting.iterations, counting.scalars) == ("SGD", names[2], {"lr": "SGD/lr"})
        assert training.doubtful == {"training/SGD/Variable": ("d/k", "e/k")}
        assert training.orphans == ["training/SGD/d/b/m"]

    def test_momentum_of_rmsprop(self):
        names = ["k", "R/iter", "R/k/rms", "R/k/momentum", "S/iter", "S/k/momentum"]
        _, rmsprop, sgd = by_names(*names)
        assert rmsprop.slots == {("rms", "k"): "R/k/rms", ("rms_momentum", "k"): "R/k/momentum"}
        assert sgd.slots == {("momentum", "k"): "S/k/momentum"}

    def test_a_variable_called_iter_is_no_optimizer(self):
        assert [each.generation for each in by_names("a/iter", "a/w", "w/a")] == ["tf1"]

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


def in_graph(root, shape=(2,)):
    graph = finished(root)
    keys = [each.checkpoint_key for path, _, each in graph.attributes() if path != "save_counter"]
    return graph, Optimizers.of(graph, dict.fromkeys(keys, shape)).found


def paths(slots):
    """Without the ends of keys."""
    end = len(attribute_key(""))
    return {(role, variable[:-end]): key[:-end] for (role, variable), key in slots.items()}


def numbered(*nodes):
    return Node(children={str(number): node for number, node in enumerate(nodes)})


class TestGraphs:
    def test_legacy(self):
        _, [found] = in_graph(keras_like())
        assert (found.generation, found.path, found.ran) == ("legacy", "optimizer", True)
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
        assert (found.generation, found.path, found.iterations, found.scalars) == ("tf1", "o", None, {})
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
        assert (found.generation, found.path) == ("keras3" if keras_3 else "keras2", "o")
        assert found.iterations == attribute_key("o/_iterations")
        assert {name: key for name, key in found.scalars.items() if name != "momentum_cache"} == {
            "learning_rate": attribute_key("o/_learning_rate")
        }
        assert paths(found.slots) == {
            (role, f"m/{each}"): f"o/_variables/{2 * number + place}"
            for number, role in enumerate(roles)
            for place, each in enumerate(["kernel", "bias"])
        }

    def test_variables_of_one_name(self):
        """As two layers of one name have them in tf_keras: no order is assumed, but shapes may tell."""
        kernels = [variable("d/kernel"), variable("d/kernel")]
        optimizer = tree({"_iterations": None, "_variables": {}})
        optimizer.children["_momentums"] = numbered(variable("Adam/m/d/kernel"), variable("Adam/m/d/kernel"))
        graph = finished(Node(children={"a": kernels[0], "b": kernels[1], "o": optimizer}))
        places = ("a", "b", "o/_momentums/0", "o/_momentums/1")
        a, b, first, second = map(attribute_key, places)
        for shapes, slots, doubtful in (
            ([(2, 3), (2, 3)] * 2, {}, dict.fromkeys((first, second), (a, b))),
            ([(2, 3), (4, 3), (4, 3), (2, 3)], {("m", a): second, ("m", b): first}, {}),
            ([(2, 3), (4, 3), (2, 3), (2, 3)], {}, dict.fromkeys((first, second), (a,))),
        ):
            [found] = Optimizers.of(graph, dict(zip((a, b, first, second), shapes, strict=True))).found
            assert (found.slots, found.doubtful) == (slots, doubtful)

    def test_names_that_no_variable_has(self):
        """Shapes alone prove nothing where names say something else."""
        optimizer = tree({"_iterations": None, "_variables": {}})
        optimizer.children["_momentums"] = numbered(variable("m/old/kernel"))
        _, [found] = in_graph(Node(children={"a": variable("new/kernel"), "o": optimizer}))
        assert (found.slots, found.doubtful) == ({}, {attribute_key("o/_momentums/0"): (attribute_key("a"),)})

    def test_lists_that_are_not_in_the_graph(self):
        """Keras 3 before 3.9: names say whose slots they are, or the order, if all of them agree with it."""
        kernel, bias = variable("s/d/kernel"), variable("s/d/bias")
        slots = ["kernel_momentum", "kernel_velocity", "bias_momentum", "bias_velocity"]
        nameless = attribute_key("o/_trainable_variables/0"), attribute_key("o/_trainable_variables/1")
        for names, told in (
            ([f"adam/s_d_{each}" for each in slots], True),
            ([""] * 4, True),
            ([""] * 3, False),
        ):
            optimizer = tree({"_iterations": None, "_variables": {}, "_momentums": {}, "_velocities": {}})
            optimizer.children["_trainable_variables"] = numbered(kernel, bias)
            members = [optimizer.children["_iterations"], *map(variable, names)]
            optimizer.children["_variables"] = numbered(*members)
            _, [found] = in_graph(Node(children={"o": optimizer}))
            keys = [attribute_key(f"o/_variables/{number}") for number in range(1, len(members))]
            roles = [(role, each) for each in nameless for role in ("m", "v")]
            assert found.slots == (dict(zip(roles, keys, strict=True)) if told else {})
            assert found.doubtful == ({} if told else dict.fromkeys(keys, nameless))
            assert found.listed.keys() == set(nameless)

    @pytest.mark.parametrize(("scope", "role"), [("Lion/", "m"), ("SGD/", "momentum"), ("", "momentum")])
    def test_lion(self, scope, role):
        """Its list is called as that of SGD; training puts the optimizer's name before that of a slot."""
        optimizer = tree({"_iterations": None, "_variables": {}})
        optimizer.children["momentums"] = numbered(variable(f"{scope}m/d/kernel"))
        _, [found] = in_graph(Node(children={"a": variable("d/kernel"), "o": optimizer}))
        assert found.slots == {(role, attribute_key("a")): attribute_key("o/momentums/0")}
        names = class_names([found], {})
        assert names == (["Lion"] if role == "m" else ["SGD or Lion"])

    def test_wrapped(self):
        """The inner optimizer's steps and hyperparameters count, where both have them."""
        inner = tree(
            {"_iterations": None, "_learning_rate": None, "_variables": {}, "_trainable_variables": {}}
        )
        outer = tree(
            {"_iterations": None, "_learning_rate": None, "_variables": {}, "_trainable_variables": {}}
        )
        outer.children["inner_optimizer"] = inner
        graph, [found] = in_graph(tree({"o": outer}))
        assert (found.node, found.inner) == (graph["o"], graph["o/inner_optimizer"])
        assert found.iterations == attribute_key("o/inner_optimizer/_iterations")
        assert found.scalars == {
            "learning_rate": attribute_key("o/inner_optimizer/_learning_rate"),
            "wrapper_learning_rate": attribute_key("o/_learning_rate"),
            "wrapper_iterations": attribute_key("o/_iterations"),
        }

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
        assert (found.generation, found.path, found.ran) == ("legacy", name, False)

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
            (["accumulator"], "Adagrad"),
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
            shapes = {each.checkpoint_key: (2,) for _, _, each in again.attributes()}
            assert Optimizers.of(again, shapes).found[0].slots.keys() >= {
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
        _, [optimizer] = in_graph(tree({"w": None, "o": names}), ())
        assert optimizer.possible_roles() == roles
        optimizer.slots["m", "w"] = "x"
        assert optimizer.possible_roles() == {"m"}
        optimizer.generation = "keras2"
        assert optimizer.possible_roles() == set()


@pytest.mark.parametrize(
    "children",
    [
        {"iter": None, "decay": None, "kernel": None},
        {"iter": None, "learning_rate": None, "layers": {"0": {"kernel": None}}},
        {"_iterations": None, "_variables": {"0": None}},
    ],
)
def test_a_model_that_counts_is_no_optimizer(children, tmp_path):
    """Its weights are no hyperparameters, which might be left out: what has no slots and holds weights is a model."""
    graph = finished(tree({"model": children}))
    shapes = {
        each.checkpoint_key: (2, 3) if path.endswith(("kernel", "/0")) else ()
        for path, _, each in graph.attributes()
    }
    found = Optimizers.of(graph, shapes)
    assert not found.found
    assert not found.state
