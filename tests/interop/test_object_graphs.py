"""Object graphs of everything that TensorFlow and Keras track: hints tell the classes that the objects really have.

Objects are saved, and every node of the graph is held against the object that it was made of.
"""

import importlib
import weakref
from collections import namedtuple

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import KERAS_2, KERAS_3
from support.object_graphs import GRAPH_KEY
from support.tensorflow import ShardedVariable, UninitializedVariable, tf, tf1
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.proto.nodes import encode_nodes
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

# Keras 2 draws its seeds so; the loss scale of tf_keras warns of what the optimizer is.
pytestmark = [
    pytest.mark.filterwarnings("ignore:non-integer arguments to randrange"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
loader_impl = importlib.import_module("tensorflow.python.saved_model.loader_impl")
registration = importlib.import_module("tensorflow.python.saved_model.registration")
KERAS = {"keras 2": KERAS_2, "keras 3": KERAS_3}
KERAS = {name: keras for name, keras in KERAS.items() if keras is not None}
every_keras = pytest.mark.parametrize("keras", KERAS.values(), ids=KERAS)
keras_2 = pytest.mark.skipif(KERAS_2 is None, reason="needs Keras 2")
keras_3 = pytest.mark.skipif(KERAS_3 is None, reason="needs Keras 3")

Pair = namedtuple("Pair", "first second")


def classes(item):
    """The names of an object's class and of all above it."""
    return {each.__name__ for each in type(item).__mro__}


def of_class(*names):
    return lambda item: bool(classes(item) & set(names))


def of_keras(major, *names):
    modules = {2: ("tf_keras.", "keras.src.engine", "keras.src.optimizers"), 3: ("keras.",)}[major]

    def check(item):
        return any(
            each.__name__ in names and each.__module__.startswith(modules) for each in type(item).__mro__
        )

    return check


def numbered(item):
    return bool(classes(item) & {"ListWrapper", "List", "_TupleWrapper"}) or all(map(str.isdigit, item))


MEANING = {
    "tf.train.Checkpoint": of_class("Checkpoint", "CheckpointV1"),
    "variable": of_class("Variable", "BaseResourceVariable", "DistributedVariable"),
    "partitioned variable": of_class("ShardedVariable"),
    "lookup table": of_class("MutableHashTable", "DenseHashTable"),
    "static lookup table": of_class("StaticHashTable", "StaticVocabularyTable"),
    "dataset iterator": of_class("OwnedIterator", "Iterator"),
    "random generator": of_class("Generator"),
    "Python state": of_class("PythonState"),
    "TF1 optimizer": of_class("Optimizer"),
    "Keras legacy optimizer": of_class("OptimizerV2"),
    "Keras 2 optimizer": of_keras(2, "Optimizer"),
    "Keras 2 Sequential model": of_keras(2, "Sequential"),
    "Keras 2 functional or Sequential model": of_keras(2, "Functional"),
    "Keras 2 model": of_keras(2, "Model"),
    "Keras 3 optimizer": of_keras(3, "BaseOptimizer"),
    "Keras 3 Sequential model": of_keras(3, "Sequential"),
    "Keras 3 functional model": of_keras(3, "Functional"),
    "Keras 3 model": of_keras(3, "Model"),
    "Keras 3 layer": of_keras(3, "Layer"),
    "Keras bookkeeping": of_class("ListWrapper", "_DictWrapper", "_TupleWrapper", "Function"),
    "list-like": numbered,
    "dict-like": of_class("_DictWrapper", "Checkpoint"),
    "namedtuple": lambda item: hasattr(item, "_fields"),
    "saved by Test.Saved": lambda item: isinstance(item, tf.Module) and item.name == "saved_by_itself",
}


def objects_of(checkpoint, graph):
    """The object that each node was made of, but for slot variables."""
    view = checkpoint._saver._graph_view
    found = {graph.root: view.root}
    queue = [graph.root]
    for node in queue:
        known = {each.name: each.ref for each in view.list_children(found[node])}
        assert list(known) == list(node.children)
        for name, child in node.children.items():
            if child not in found:
                item = known[name]
                found[child] = item() if isinstance(item, weakref.ref) else item
                queue.append(child)
    return found


def check(prefix, checkpoint=None):
    """The hints of a checkpoint by path, all of them true; every format of `graph` shows it."""
    with tb.open(prefix) as ckpt:
        data = ckpt[GRAPH_KEY].item()
        graph = ObjectGraph.parse(data)
        found = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
    assert encode_nodes(graph.nodes) == graph.encode() == ObjectGraph(graph.root).encode() == data
    for form in ("tree", "json", "dot", "mermaid"):
        assert main(["graph", str(prefix), "--format", form]) == 0
    if checkpoint is not None:
        items = objects_of(checkpoint, graph)
        slots = [node for node in graph.nodes if node not in items]
        assert {found[node] for node in slots} <= {"slot variable"}
        wrong = {
            path: (found[node], type(items[node]))
            for path, node in graph.walk()
            if node in items and node in found and not MEANING[found[node]](items[node])
        }
        assert not wrong
    return {path: found.get(node) for path, node in graph.walk()}


def saved(tmp_path, *root, **objects):
    """The hints of what `Checkpoint.save` writes of some objects."""
    checkpoint = tf.train.Checkpoint(*root, **objects)
    return check(checkpoint.save(str(tmp_path / "ckpt")), checkpoint)


def ramp(*shape):
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


def module(**attributes):
    out = tf.Module()
    for name, value in attributes.items():
        setattr(out, name, value)
    return out


class Progress(tf.train.experimental.PythonState):
    def serialize(self):
        return "{}"

    def deserialize(self, string_value):
        pass


class Mean(tf.Module):
    """Looks like a metric of Keras, and is none."""

    def __init__(self):
        super().__init__()
        self.total, self.count = tf.Variable(0.0, name="total"), tf.Variable(0.0, name="count")


class Pretender(tf.Module):
    """Has attributes of the names that other classes have, for purposes of its own.

    Not those of an optimizer (`iter` and `decay`, or `_iterations` and `_variables`): every command takes it for one.
    """

    def __init__(self):
        super().__init__()
        self._state_var = tf.Variable(1.0)
        self._losses = []
        self.keras = module(_tracked=[], _inbound_nodes=[], kernel=tf.Variable(1.0))
        self.random = module(_state_var=tf.Variable(np.zeros(3, np.int64), name="state"))
        self.lazy = module(_initializer=tf.Variable(1.0))
        self.table = tf.Variable([1.0])
        self.mean = Mean()
        self.numbers = {"0": tf.Variable(1.0), "1": [tf.Variable(2.0)]}
        self.twice = {"a": self.table, "0": tf.Variable(0.0)}


def test_python(tmp_path):
    root = module(
        list=[tf.Variable(1.0), 2, tf.Module()],
        tuple=(tf.Variable(1.0), {}),
        pair=Pair(tf.Variable(1.0), [tf.Variable(2.0)]),
        half=Pair(tf.Variable(1.0), 5),
        dict={"a": tf.Variable(1.0), "b": {}},
        names={"a/b": tf.Variable(1.0), "x.y": tf.Variable(2.0)},
        nested=[[{"k": (tf.Variable(1.0),)}], []],
        checkpoint=tf.train.Checkpoint(**{"a b": tf.Variable(1.0)}),
        nothing=tf.Module(),
        function=tf.function(lambda x: x),
    )
    root.itself = root
    found = saved(tmp_path, m=root, v=tf.Variable(1.0))
    assert {path: hint for path, hint in found.items() if path.count("/") < 2} == {
        "": "tf.train.Checkpoint",
        "m": None,
        "v": "variable",
        "save_counter": "variable",
        "m/list": "list-like",
        "m/tuple": "list-like",
        "m/pair": "namedtuple",
        "m/half": "namedtuple",
        "m/dict": None,
        "m/names": "dict-like",
        "m/nested": "list-like",
        "m/checkpoint": "dict-like",
        "m/nothing": None,
        "m/function": None,
    }
    assert found["m/pair/second"] == found["m/nested/0"] == found["m/nested/0/0/k"] == "list-like"
    assert found["m/nested/1"] is found["m/dict/b"] is None


def test_the_root_is_an_object(tmp_path):
    assert saved(tmp_path, module(v=tf.Variable(1.0)))[""] is None
    assert saved(tmp_path, module(v=[tf.Variable(1.0)]), more=tf.Module())["v"] == "list-like"


def test_state(tmp_path):
    numbers = iter(tf.data.Dataset.range(5))
    text = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([0], tf.int64))
    found = saved(
        tmp_path,
        table=tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1),
        dense=tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, empty_key=-1, deleted_key=-2),
        static=tf.lookup.StaticHashTable(text, -1),
        words=tf.lookup.StaticVocabularyTable(text, 1),
        iterator=numbers,
        data=tf.data.Dataset.range(3),
        philox=tf.random.Generator.from_seed(1, alg="philox"),
        threefry=tf.random.Generator.from_seed(1, alg="threefry"),
        state=Progress(),
    )
    assert {path: hint for path, hint in found.items() if path and "/" not in path} == {
        "table": "lookup table",
        "dense": "lookup table",
        "static": "static lookup table",
        "words": "static lookup table",
        "iterator": "dataset iterator",
        "data": None,
        "philox": "random generator",
        "threefry": "random generator",
        "state": "Python state",
        "save_counter": "variable",
    }


def test_variables(tmp_path):
    parts = [tf.Variable(ramp(2, 3)), tf.Variable(ramp(2, 3))]
    strategy = tf.distribute.MirroredStrategy()
    with strategy.scope():
        mirrored = tf.Variable(1.0)
    found = saved(
        tmp_path,
        plain=tf.Variable("text"),
        mirrored=mirrored,
        sharded=ShardedVariable(parts, name="sharded"),
        missing=UninitializedVariable(shape=[2], dtype=tf.float32),
    )
    assert found.pop("") == "tf.train.Checkpoint"
    assert found.pop("sharded") == "partitioned variable"
    assert set(found.values()) == {"variable"}


def test_a_registered_saver(tmp_path):
    def save(trackables, file_prefix):
        names = list(trackables)
        tf.raw_ops.SaveV2(
            prefix=file_prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(1.0)] * len(names),
        )
        return file_prefix

    registration.register_checkpoint_saver(
        package="Test",
        name="Saved",
        predicate=lambda item: isinstance(item, tf.Module) and item.name == "saved_by_itself",
        save_fn=save,
        restore_fn=lambda trackables, merged_prefix: None,
    )
    item = tf.Module(name="saved_by_itself")
    item.inside = tf.Variable(1.0)
    found = saved(tmp_path, item=item)
    assert (found["item"], found["item/inside"]) == ("saved by Test.Saved", "variable")


def test_what_only_looks_alike(tmp_path):
    found = saved(tmp_path, p=Pretender())
    assert found["p"] is None
    assert found["p/numbers"] == "list-like"
    assert found["p/twice"] == "dict-like"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {}),
        ("Momentum", {"momentum": 0.9}),
        ("Adagrad", {}),
        ("RMSProp", {}),
        ("Ftrl", {}),
        ("Adadelta", {}),
    ],
)
def test_optimizers_of_tensorflow_1(tmp_path, name, options):
    optimizer = getattr(tf1.train, f"{name}Optimizer")(0.1, **options)
    v = tf.Variable([1.0, 2.0], name="v")
    optimizer.minimize(lambda: tf.reduce_sum(v * v), var_list=[v])
    found = saved(tmp_path, v=v, o=optimizer)
    assert found["o"] == "TF1 optimizer"
    slots = {path: hint for path, hint in found.items() if path.startswith("v/")}
    assert set(slots.values()) == {"slot variable"}


# Keras


def sequential(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.Dense(2),
        ]
    )


def functional(keras):
    layers = keras.layers
    one, two = layers.Input((4,)), layers.Input((2,))
    hidden = layers.Dense(2)(one)
    return keras.Model([one, two], [layers.Concatenate()([hidden, two]), hidden])


def subclassed(keras):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)
            self.w = self.add_weight(name="w", shape=(2,))
            self._losses_of_mine = []
            self.inner = sequential(keras)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.inner(x) + self.dense(x) * self.w

    model = Model()
    model(ramp(1, 4))
    return model


def flat(keras):
    layers = keras.layers
    return keras.Sequential([layers.Input((2, 2)), layers.Flatten(), layers.Dense(2)])


def lazy(keras):
    model = keras.Sequential([keras.layers.Dense(2)])
    model(ramp(1, 4))
    return model


def recurrent(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((None, 4)),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2)),
            layers.GRU(2),
            layers.Normalization(),
        ]
    )


MODELS = {
    sequential: ("Keras 2 Sequential model", "Keras 3 Sequential model"),
    lazy: ("Keras 2 Sequential model", "Keras 3 Sequential model"),
    recurrent: ("Keras 2 Sequential model", "Keras 3 Sequential model"),
    flat: ("Keras 2 functional or Sequential model", "Keras 3 Sequential model"),
    functional: ("Keras 2 functional or Sequential model", "Keras 3 functional model"),
    subclassed: (None, None),
}


@pytest.mark.parametrize("as_root", [False, True])
@pytest.mark.parametrize("make", MODELS, ids=lambda each: each.__name__)
@every_keras
def test_models(tmp_path, keras, make, as_root):
    modern = keras is not KERAS_2
    model = make(keras)
    found = saved(tmp_path, model) if as_root else saved(tmp_path, model=model)
    assert found["" if as_root else "model"] == MODELS[make][modern]
    if make is subclassed and not as_root:
        assert found["model/inner"] == MODELS[sequential][modern]
    if modern and make is sequential and not as_root:
        assert found["model/_functional"] == "Keras 3 functional model"
        assert found["model/_functional/_tracked"] == "Keras bookkeeping"
        assert found["model/_functional/_operations"] == "list-like"


def trained(keras, make, optimizer):
    model = make(keras)
    model.compile(optimizer, "mse", metrics=["mae"])
    model.fit(ramp(2, 4), ramp(2, 2), verbose=0)
    return model


OPTIMIZERS = ["Adam", "SGD", "RMSprop", "Ftrl", "Adagrad", "Adadelta", "Nadam", "Adamax"]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "AdamW", "Lion", "Adafactor", "LossScale", "schedule"])
@every_keras
def test_optimizers(tmp_path, keras, name):
    optimizers = keras.optimizers
    scale = getattr(optimizers, "LossScaleOptimizer", None) or keras.mixed_precision.LossScaleOptimizer
    special = {
        "LossScale": lambda: scale(optimizers.Adam()),
        "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
    }
    optimizer = special[name]() if name in special else getattr(optimizers, name)(0.1)
    model = trained(keras, sequential, optimizer)
    found = saved(tmp_path, model=model, optimizer=optimizer)
    modern = keras is not KERAS_2
    assert found["optimizer"] == ("Keras 3 optimizer" if modern else "Keras 2 optimizer")
    bookkeeping = "_trainable_variables_indices" if modern else "_index_dict"
    assert found[f"optimizer/{bookkeeping}"] == "Keras bookkeeping"
    assert found["model"] == MODELS[sequential][modern]
    compiled = "_compiled_trainable_state" if modern else "train_tf_function"
    assert found[f"model/{compiled}"] == "Keras bookkeeping"


@pytest.mark.parametrize("name", [*OPTIMIZERS, "LossScale", "schedule"])
@keras_2
def test_legacy_optimizers(tmp_path, name):
    legacy = KERAS_2.optimizers.legacy
    special = {
        "LossScale": lambda: KERAS_2.mixed_precision.LossScaleOptimizer(legacy.Adam()),
        "schedule": lambda: legacy.SGD(legacy_schedule()),
    }
    optimizer = special[name]() if name in special else getattr(legacy, name)(0.1)
    model = trained(KERAS_2, sequential, optimizer)
    found = saved(tmp_path, model=model, optimizer=optimizer)
    assert found["optimizer"] == "Keras legacy optimizer"
    if name not in ("SGD", "schedule"):
        assert "slot variable" in found.values()


def legacy_schedule():
    return KERAS_2.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


@every_keras
def test_a_compiled_model_of_its_own_class(tmp_path, keras):
    model = trained(keras, subclassed, "adam")
    found = saved(tmp_path, model=model)
    assert found["model"] == ("Keras 2 model" if keras is KERAS_2 else "Keras 3 model")


@every_keras
def test_layers_with_tables(tmp_path, keras):
    words = keras.layers.TextVectorization(max_tokens=10)
    words.adapt(["a b", "b c"])
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    found = saved(tmp_path, words=words, lookup=lookup)
    assert found["lookup/lookup_table"] == found["words/_lookup_layer/lookup_table"] == "static lookup table"
    assert found["words/_lookup_layer/token_counts"] == "lookup table"


@keras_2
def test_metrics_are_told_from_nothing(tmp_path):
    found = saved(tmp_path, mean=KERAS_2.metrics.Mean(), auc=KERAS_2.metrics.AUC())
    assert found["mean"] is found["auc"] is None


# SavedModels: beside the checkpoint's graph they have another, with the kinds of the objects.

IDENTIFIERS = {
    "Keras 2 Sequential model": {"_tf_keras_sequential"},
    "Keras 2 functional or Sequential model": {"_tf_keras_sequential", "_tf_keras_network"},
    "Keras 2 object": {
        *("_tf_keras_layer", "_tf_keras_input_layer", "_tf_keras_metric", "_tf_keras_model"),
        *("_tf_keras_network", "_tf_keras_sequential", "_tf_keras_rnn_layer"),
    },
    "list-like": {"trackable_list_wrapper", "trackable_tuple_wrapper"},
}


def check_saved_model(path):
    """As `check`, against the kinds that the SavedModel stores."""
    found = check(path)
    [meta_graph] = loader_impl.parse_saved_model(str(path)).meta_graphs
    nodes = meta_graph.object_graph_def.nodes
    with tb.open(path) as ckpt:
        graph = ckpt.object_graph
    queue, kinds = [(graph.root, 0)], {graph.root: nodes[0]}
    for node, number in queue:
        known = {each.local_name: each.node_id for each in nodes[number].children}
        for name, child in node.children.items():
            if child not in kinds and name in known:
                kinds[child] = nodes[known[name]]
                queue.append((child, known[name]))
    for at, node in graph.walk():
        kind = kinds.get(node)
        hint = found[at]
        if kind is None or hint is None or hint.startswith("saved by"):
            continue
        which = kind.WhichOneof("kind")
        identifier = kind.user_object.identifier
        if hint in ("variable", "slot variable"):
            assert which == "variable", at
        elif hint in IDENTIFIERS:
            assert identifier in IDENTIFIERS[hint], (at, hint, identifier)
        elif hint == "function":
            assert which in ("function", "bare_concrete_function"), (at, which)
        elif hint == "static lookup table":
            assert which == "resource" or identifier == "trackable_resource", (at, which, identifier)
        elif hint in ("Keras 2 optimizer", "Keras legacy optimizer"):
            assert identifier in ("optimizer", "experimentalOptimizer"), (at, identifier)
    return found


@keras_2
@pytest.mark.parametrize("make", [sequential, functional, recurrent], ids=lambda each: each.__name__)
def test_saved_models_of_keras_2(tmp_path, make):
    model = make(KERAS_2)
    model.compile("adam", "mse", metrics=["mae"])
    tf.saved_model.save(model, str(tmp_path))
    found = check_saved_model(tmp_path)
    assert found[""] == MODELS[make][0]
    assert found["keras_api"] == "Keras bookkeeping"
    assert found["layer_with_weights-0"] == "Keras 2 object"


def test_saved_models_of_modules(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def double(x):
        return x * root.v

    root = module(v=tf.Variable(2.0), some=[tf.Variable(1.0)])
    root.double = double
    text = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([0], tf.int64))
    root.table = tf.lookup.StaticHashTable(text, -1)
    tf.saved_model.save(root, str(tmp_path))
    found = check_saved_model(tmp_path)
    assert found["double"] == "function"
    assert found["some"] == "list-like"
    assert found["table"] == "static lookup table"


@keras_3
def test_exports_of_keras_3(tmp_path):
    model = trained(KERAS_3, sequential, "adam")
    model.export(str(tmp_path / "export"), verbose=False)
    assert check_saved_model(tmp_path / "export")["variables"] == "list-like"
    tf.saved_model.save(model, str(tmp_path / "whole"))
    found = check_saved_model(tmp_path / "whole")
    assert found[""] == "Keras 3 Sequential model"
    assert found["_layers/1"] == "Keras 3 layer"
    assert found["optimizer"] == "Keras 3 optimizer"
