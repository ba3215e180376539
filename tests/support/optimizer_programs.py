"""Small programs with one optimizer each, of every class and generation: what they save, they can restore.

Each trains an embedding, a kernel and a bias. Values say what a tensor is: the first one of variable number N (from 1) is
N, and that of its slot number K is 100 K + N; further rows of the first axis add 0.01 each. `tests/golden/optimizers` has
what these programs wrote (`make_optimizers.py`); `tests/interop/test_optimizers.py` lets them restore.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from support.keras import keras
from support.tensorflow import ShardedVariable, tf, tf1

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROWS, COLUMNS = 6, 4
STEPS = 7


def filled(shape: Sequence[int], first: float) -> np.ndarray:
    """An array whose rows are `first`, `first` + 0.01 and so on."""
    rows = np.arange(shape[0] if shape else 1, dtype=np.float32) / 100 + np.float32(first)
    return np.broadcast_to(rows.reshape(-1, *[1] * (len(shape) - 1)) if shape else rows[0], shape).astype(
        "<f4"
    )


@dataclass
class Program:
    """A program with an optimizer.

    Attributes:
        variables: what it trains, the embedding first.
        slots: by role, one a variable, or None.
        steps: the variable that counts.
        save: writes a checkpoint, to a prefix.
        restore: reads one, and raises where anything does not match.
        values: the values of variables.
        assign: gives a variable a value.
    """

    variables: list[Any]
    slots: dict[str, list[Any]]
    steps: Any
    save: Callable[[str], None]
    restore: Callable[[str], None]
    values: Callable[[Sequence[Any]], list[np.ndarray]] = lambda variables: [
        each.numpy() for each in variables
    ]
    assign: Callable[[Any, Any], None] = lambda variable, value: variable.assign(value)

    def mark(self) -> None:
        """Give all variables and slots the values that say what they are."""
        for number, each in enumerate(self.variables, 1):
            self.assign(each, filled(_shape(each), number))
        for place, slots in enumerate(self.slots.values(), 1):
            for number, each in enumerate(slots, 1):
                if each is not None:
                    self.assign(each, filled(_shape(each), 100 * place + number))
        if self.steps is not None:
            self.assign(self.steps, STEPS)


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.shape.as_list() if hasattr(variable.shape, "as_list") else variable.shape)


@dataclass(frozen=True)
class Case:
    """An optimizer.

    Attributes:
        name: of its checkpoint.
        build: makes a program, with so many rows in its embedding.
        generation: which it is of.
    """

    name: str
    generation: str
    build: Callable[[int], Program] = field(repr=False)


CASES: dict[str, Case] = {}


def case(name: str, generation: str) -> Callable[[Callable[[int], Program]], None]:
    """Register a program."""

    def register(build: Callable[[int], Program]) -> None:
        CASES[name] = Case(name, generation, build)

    return register


# TF1: names only


def _session(make: Callable[[list[Any]], Mapping[str, list[Any]]], rows: int, steps: bool = True) -> Program:
    """A graph, whose variables a Saver saves."""
    graph = tf.Graph()
    with graph.as_default(), tf1.variable_scope("", use_resource=True):
        shapes = {"emb": [rows, COLUMNS], "d/kernel": [COLUMNS, 3], "d/bias": [3]}
        variables = [
            tf1.get_variable(name, shape, initializer=tf1.zeros_initializer())
            for name, shape in shapes.items()
        ]
        step = tf1.train.get_or_create_global_step() if steps else None
        slots = {role: list(found) for role, found in make(variables).items()}
        session, saver = tf1.Session(graph=graph), tf1.train.Saver()
        session.run(tf1.global_variables_initializer())

    def assign(variable: Any, value: Any) -> None:
        session.run(variable.initializer, {variable.initializer.inputs[1]: value})

    def save(prefix: str) -> None:
        with graph.as_default():
            saver.save(session, prefix, write_meta_graph=False, write_state=False)

    def restore(prefix: str) -> None:
        with graph.as_default():
            saver.restore(session, prefix)

    return Program(variables, slots, step, save, restore, session.run, assign)


def _native(name: str, optimizer: Callable[[], Any], roles: Mapping[str, str]) -> None:
    """A class of tf.train: its slots' names, and what they mean."""

    def make(variables: list[Any]) -> dict[str, list[Any]]:
        made = optimizer()
        made.apply_gradients([(tf.zeros(each.shape), each) for each in variables])
        return {role: [_slot(made, each, slot) for each in variables] for slot, role in roles.items()}

    case(name, "tf1")(lambda rows: _session(make, rows))


def _slot(optimizer: Any, variable: Any, name: str) -> Any:
    """A slot, or None."""
    return optimizer.get_slot(variable, name) if name in optimizer.get_slot_names() else None


class _Adafactor(tf1.train.Optimizer):  # type: ignore[misc]
    """The slots of tensor2tensor's (utils/adafactor.py)."""

    def __init__(self, beta1: float = 0.0) -> None:
        super().__init__(False, "Adafactor")
        self._beta1 = beta1

    def _create_slots(self, var_list: Any) -> None:
        for each in var_list:
            shape = each.get_shape().as_list()
            if self._beta1:
                self._zeros_slot(each, "m", self._name)
            if len(shape) == 2:
                self._get_or_make_slot(each, tf.zeros(shape[:1]), "vr", self._name)
                self._get_or_make_slot(each, tf.zeros(shape[1:]), "vc", self._name)
            else:
                self._get_or_make_slot(each, tf.zeros(shape), "v", self._name)

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return handle.assign_sub(grad)


def _with_suffixes(suffixes: Mapping[str, str]) -> Callable[[list[Any]], dict[str, list[Any]]]:
    """Slots that a program names itself: by role, what is put behind a variable's name."""

    def make(variables: list[Any]) -> dict[str, list[Any]]:
        zeros = tf1.zeros_initializer()
        return {
            role: [
                tf1.get_variable(f"{each.op.name}{suffix}", each.shape, initializer=zeros, trainable=False)
                for each in variables
            ]
            for role, suffix in suffixes.items()
        }

    return make


def _mesh(variables: list[Any]) -> dict[str, list[Any]]:
    """The slots of Mesh TensorFlow's Adafactor (optimize.py): averages over the two largest axes."""
    slots: dict[str, list[Any]] = {"mesh_vr": [], "mesh_vc": [], "v": []}
    for each in variables:
        shape = each.shape.as_list()
        by_size = sorted(range(len(shape)), key=lambda axis: -shape[axis])
        without = [[size for axis, size in enumerate(shape) if axis != gone] for gone in by_size[:2]]
        for role, other in zip(
            ("mesh_vr", "mesh_vc", "v"), [*without, shape] if len(shape) > 1 else [0, 0, shape], strict=True
        ):
            made = None
            if (role == "v") == (len(shape) < 2):
                suffix = role.removeprefix("mesh_")
                made = tf1.get_variable(
                    f"{each.op.name}_slot_{suffix}", other, initializer=tf1.zeros_initializer()
                )
            slots[role].append(made)
    return slots


def _averages(variables: list[Any]) -> dict[str, list[Any]]:
    ema = tf1.train.ExponentialMovingAverage(0.9)
    ema.apply(variables)
    return {"average": [ema.average(each) for each in variables]}


_ADAM = {"m": "m", "v": "v"}
_native("tf1-adam", lambda: tf1.train.AdamOptimizer(0.1), _ADAM)
_native("tf1-momentum", lambda: tf1.train.MomentumOptimizer(0.1, 0.9), {"momentum": "gradient_sum"})
_native("tf1-rmsprop", lambda: tf1.train.RMSPropOptimizer(0.1), {"rms": "rms", "momentum": "rms_momentum"})
_native(
    "tf1-rmsprop-centered",
    lambda: tf1.train.RMSPropOptimizer(0.1, centered=True),
    {"rms": "rms", "mg": "mg", "momentum": "rms_momentum"},
)
_native("tf1-adagrad", lambda: tf1.train.AdagradOptimizer(0.1), {"accumulator": "accumulator"})
_native(
    "tf1-adadelta",
    lambda: tf1.train.AdadeltaOptimizer(0.1),
    {"accum": "accum_grad", "accum_update": "accum_var"},
)
_native("tf1-ftrl", lambda: tf1.train.FtrlOptimizer(0.1), {"accum": "accumulator", "linear": "linear"})
_native(
    "tf1-adagradda",
    lambda: tf1.train.AdagradDAOptimizer(0.1, tf1.train.get_global_step()),
    {
        "gradient_accumulator": "gradient_accumulator",
        "gradient_squared_accumulator": "gradient_squared_accumulator",
    },
)
_native("t2t-adafactor", _Adafactor, {"vr": "vr", "vc": "vc", "v": "v"})
_native("t2t-adafactor-beta1", lambda: _Adafactor(0.9), {"m": "m", "vr": "vr", "vc": "vc", "v": "v"})
case("bert-adam", "tf1")(lambda rows: _session(_with_suffixes({"m": "/adam_m", "v": "/adam_v"}), rows))
case("albert-lamb", "tf1")(lambda rows: _session(_with_suffixes({"m": "/lamb_m", "v": "/lamb_v"}), rows))
case("contrib-lars", "tf1")(lambda rows: _session(_with_suffixes({"gradient_sum": "/LARSOptimizer"}), rows))
case("contrib-lamb", "tf1")(lambda rows: _session(_with_suffixes({"m": "/LAMB", "v": "/LAMB_1"}), rows))
case("t5-adafactor", "tf1")(lambda rows: _session(_mesh, rows))
case("tf1-average", "average")(lambda rows: _session(_averages, rows, steps=False))


def _estimator(variables: list[Any]) -> dict[str, list[Any]]:
    """A legacy Keras optimizer in TF1 code, as Estimators had them."""
    with tf1.variable_scope("training/Adam"):
        for name in ("beta_1", "beta_2", "decay", "learning_rate"):
            tf1.get_variable(name, [], initializer=tf1.zeros_initializer())
    return {
        role: [
            tf1.get_variable(
                f"training/Adam/{each.op.name}/{role}", each.shape, initializer=tf1.zeros_initializer()
            )
            for each in variables
        ]
        for role in ("m", "v")
    }


case("estimator-keras-adam", "legacy")(lambda rows: _session(_estimator, rows))

# Objects


def _objects(
    variables: list[Any], optimizer: Any, slots: dict[str, list[Any]], steps: Any, **others: Any
) -> Program:
    """A program that saves with tf.train.Checkpoint; `others` take the place of the module with the variables."""
    if not others:
        module = tf.Module(name="module")
        module.emb, module.kernel, module.bias = variables
        others = {"model": module}
    checkpoint = tf.train.Checkpoint(optimizer=optimizer, **others)

    def save(prefix: str) -> None:
        checkpoint.write(prefix)

    def restore(prefix: str) -> None:
        status = checkpoint.read(prefix)
        status.assert_consumed()
        status.assert_existing_objects_matched()

    return Program(variables, slots, steps, save, restore)


def tf_variables(rows: int) -> list[Any]:
    return [
        tf.Variable(tf.zeros(shape), name=name)
        for name, shape in (("emb", [rows, COLUMNS]), ("d/kernel", [COLUMNS, 3]), ("d/bias", [3]))
    ]


def _tf1_object(rows: int) -> Program:
    variables = tf_variables(rows)
    optimizer = tf1.train.AdamOptimizer(0.1)
    optimizer.apply_gradients([(tf.zeros_like(each), each) for each in variables])
    slots = {role: [optimizer.get_slot(each, role) for each in variables] for role in ("m", "v")}
    return _objects(variables, optimizer, slots, None)


case("tf1-adam-object", "tf1")(_tf1_object)


def _legacy(name: str, optimizer: Callable[[Any], Any], roles: Mapping[str, str]) -> None:
    """A legacy optimizer of tf_keras: its slots' names, and what they mean."""

    def build(rows: int) -> Program:
        variables, made = tf_variables(rows), optimizer(keras(2).optimizers.legacy)
        made._create_all_weights(variables)
        slots = {}
        for slot, role in roles.items():
            owner = made if slot in ("slow", "average") else getattr(made, "inner", made)
            slots[role] = [owner.get_slot(each, slot) for each in variables]
        return _objects(variables, made, slots, made.iterations)

    case(name, "legacy")(build)


def _wrapper(slot: str) -> Callable[[Any], Any]:
    """An optimizer that keeps copies of what another one trains, as tfa's Lookahead, MovingAverage and SWA do."""

    def make(legacy: Any) -> Any:
        class Wrapper(legacy.Optimizer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__("Wrapper")
                self.inner = legacy.Adam()
                self._track_trackable(self.inner, "base")

            def _create_slots(self, var_list: Any) -> None:
                self.inner._create_slots(var_list=var_list)
                for each in var_list:
                    self.add_slot(each, slot)

            def _create_hypers(self) -> None:
                self.inner._create_hypers()

            def get_config(self) -> dict[str, Any]:
                return {}

        return Wrapper()

    return make


_legacy("legacy-adam", lambda legacy: legacy.Adam(), _ADAM)
_legacy("legacy-amsgrad", lambda legacy: legacy.Adam(amsgrad=True), {**_ADAM, "vhat": "vhat"})
_legacy("legacy-adamax", lambda legacy: legacy.Adamax(), _ADAM)
_legacy("legacy-nadam", lambda legacy: legacy.Nadam(), _ADAM)
_legacy("legacy-sgd", lambda legacy: legacy.SGD(), {})
_legacy("legacy-sgd-momentum", lambda legacy: legacy.SGD(momentum=0.9), {"momentum": "momentum"})
_legacy(
    "legacy-rmsprop",
    lambda legacy: legacy.RMSprop(momentum=0.9, centered=True),
    {"rms": "rms", "momentum": "rms_momentum", "mg": "mg"},
)
_legacy("legacy-adagrad", lambda legacy: legacy.Adagrad(), {"accumulator": "accumulator"})
_legacy(
    "legacy-adadelta",
    lambda legacy: legacy.Adadelta(),
    {"accum_grad": "accum_grad", "accum_var": "accum_var"},
)
_legacy("legacy-ftrl", lambda legacy: legacy.Ftrl(), {"accumulator": "accumulator", "linear": "linear"})
_legacy("legacy-loss-scale", lambda legacy: keras(2).mixed_precision.LossScaleOptimizer(legacy.Adam()), _ADAM)
_legacy("legacy-lookahead", _wrapper("slow"), {**_ADAM, "slow": "slow"})
_legacy("legacy-moving-average", _wrapper("average"), {**_ADAM, "average": "average"})


def _keras_2(name: str, optimizer: Callable[[Any], Any], lists: Mapping[str, str]) -> None:
    """An optimizer of tf_keras: its lists, and what they mean."""

    def build(rows: int) -> Program:
        variables, made = tf_variables(rows), optimizer(keras(2))
        made.build(variables)
        slots = {role: list(attrgetter(attribute)(made)) for attribute, role in lists.items()}
        return _objects(variables, made, slots, made.iterations)

    case(name, "keras2")(build)


_LISTS = {"_momentums": "m", "_velocities": "v"}
_keras_2("keras2-adam", lambda keras: keras.optimizers.Adam(), _LISTS)
_keras_2(
    "keras2-adam-all",
    lambda keras: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), amsgrad=True, use_ema=True
    ),
    {"_model_variables_moving_average": "average", **_LISTS, "_velocity_hats": "vhat"},
)
_keras_2("keras2-adamw", lambda keras: keras.optimizers.AdamW(), _LISTS)
_keras_2("keras2-adamax", lambda keras: keras.optimizers.Adamax(), {"_m": "m", "_u": "v"})
_keras_2("keras2-nadam", lambda keras: keras.optimizers.Nadam(), _LISTS)
_keras_2("keras2-sgd", lambda keras: keras.optimizers.SGD(), {"momentums": "momentum"})
_keras_2("keras2-lion", lambda keras: keras.optimizers.Lion(), {"momentums": "momentum"})
_keras_2(
    "keras2-rmsprop",
    lambda keras: keras.optimizers.RMSprop(momentum=0.9, centered=True),
    {"_velocities": "rms", "_momentums": "rms_momentum", "_average_gradients": "mg"},
)
_keras_2("keras2-rmsprop-plain", lambda keras: keras.optimizers.RMSprop(), {"_velocities": "rms"})
_keras_2("keras2-adagrad", lambda keras: keras.optimizers.Adagrad(), {"_accumulators": "accumulator"})
_keras_2(
    "keras2-adadelta",
    lambda keras: keras.optimizers.Adadelta(),
    {"_accumulated_grads": "accum_grad", "_accumulated_delta_vars": "accum_var"},
)
_keras_2(
    "keras2-ftrl",
    lambda keras: keras.optimizers.Ftrl(),
    {"_accumulators": "accumulator", "_linears": "linear"},
)
_keras_2("keras2-adafactor", lambda keras: keras.optimizers.Adafactor(), {"_r": "vr", "_c": "vc", "_v": "v"})
_keras_2(
    "keras2-loss-scale",
    lambda keras: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam()),
    {"_optimizer._momentums": "m", "_optimizer._velocities": "v"},
)


def _sharded(rows: int) -> Program:
    """A partitioned embedding, whose slots have no names."""
    shards = [
        tf.Variable(tf.zeros([size, COLUMNS]), name=f"emb/part_{i}")
        for i, size in enumerate((rows - rows // 2, rows // 2))
    ]
    emb = ShardedVariable(shards, name="emb")
    _, kernel, bias = tf_variables(rows)
    optimizer = keras(2).optimizers.Adam()
    optimizer.build([*shards, kernel, bias])
    slots = {
        role: [listed[0]._sharded_container(), *listed[2:]]
        for role, listed in (("m", optimizer._momentums), ("v", optimizer._velocities))
    }
    program = _objects([emb, kernel, bias], optimizer, slots, optimizer.iterations)

    def assign(variable: Any, value: Any) -> None:
        start = 0
        for each in getattr(variable, "variables", [variable]):
            each.assign(value if each is variable else value[start : start + each.shape[0]])
            start += each.shape[0] if each.shape.rank else 0

    program.assign = assign
    program.values = lambda variables: [tf.convert_to_tensor(each).numpy() for each in variables]
    return program


case("keras2-adam-sharded", "keras2")(_sharded)


def _keras_3(name: str, optimizer: Callable[[Any], Any], lists: Mapping[str, str]) -> None:
    """An optimizer of Keras 3: its lists, and what they mean."""

    def build(rows: int) -> Program:
        keras_3 = keras(3)
        keras_3.utils.clear_session()
        model = keras_3.Sequential(
            [keras_3.Input((2,)), keras_3.layers.Embedding(rows, COLUMNS), keras_3.layers.Dense(3)]
        )
        made = optimizer(keras_3.optimizers)
        made.build(model.trainable_variables)
        inner = getattr(made, "inner_optimizer", made)
        slots = {role: list(getattr(inner, attribute)) for attribute, role in lists.items()}
        program = _objects(model.trainable_variables, made, slots, inner._iterations, model=model)
        program.values = lambda variables: [np.asarray(each) for each in variables]
        return program

    case(name, "keras3")(build)


_keras_3("keras3-adam", lambda optimizers: optimizers.Adam(), _LISTS)
_keras_3(
    "keras3-adam-all",
    lambda optimizers: optimizers.Adam(
        optimizers.schedules.ExponentialDecay(0.1, 10, 0.9),
        amsgrad=True,
        use_ema=True,
        gradient_accumulation_steps=2,
    ),
    {
        "_model_variables_moving_average": "average",
        "_accumulated_gradients": "gradient_accumulator",
        **_LISTS,
        "_velocity_hats": "vhat",
    },
)
_keras_3("keras3-adamax", lambda optimizers: optimizers.Adamax(), {"_m": "m", "_u": "v"})
_keras_3("keras3-nadam", lambda optimizers: optimizers.Nadam(), _LISTS)
_keras_3("keras3-sgd", lambda optimizers: optimizers.SGD(), {})
_keras_3("keras3-sgd-momentum", lambda optimizers: optimizers.SGD(momentum=0.9), {"momentums": "momentum"})
_keras_3(
    "keras3-rmsprop",
    lambda optimizers: optimizers.RMSprop(momentum=0.9, centered=True),
    {"_velocities": "rms", "_momentums": "rms_momentum", "_average_gradients": "mg"},
)
_keras_3("keras3-adagrad", lambda optimizers: optimizers.Adagrad(), {"_accumulators": "accumulator"})
_keras_3(
    "keras3-adadelta",
    lambda optimizers: optimizers.Adadelta(),
    {"_accumulated_grads": "accum_grad", "_accumulated_delta_vars": "accum_var"},
)
_keras_3(
    "keras3-ftrl",
    lambda optimizers: optimizers.Ftrl(),
    {"_accumulators": "accumulator", "_linears": "linear"},
)
_keras_3("keras3-lion", lambda optimizers: optimizers.Lion(), {"_momentums": "m"})
_keras_3("keras3-lamb", lambda optimizers: optimizers.Lamb(), _LISTS)
_keras_3("keras3-adafactor", lambda optimizers: optimizers.Adafactor(), {"_r": "vr", "_c": "vc", "_v": "v"})
_keras_3("keras3-muon", lambda optimizers: optimizers.Muon(), {"momentums": "muon", "adam_velocities": "v"})
_keras_3(
    "keras3-schedule-free",
    lambda optimizers: optimizers.ScheduleFreeAdamW(),
    {"_momentums": "schedule_free", "_velocities": "v"},
)
_keras_3("keras3-loss-scale", lambda optimizers: optimizers.LossScaleOptimizer(optimizers.Adam()), _LISTS)
