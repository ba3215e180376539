"""The plan of a conversion as data, and what comes out of conversions."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.cli import V215
from support.contents import assert_same_files, our_reading
from support.golden import SAMPLE, load
from support.strategies import arrays, names
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, Slot
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key, escape_name, split_path
from tensorbundle.slices import readable_key
from tensorbundle.tools import TransferOptions, convert
from tensorbundle.tools.operations.converting.conversion import saves_in_name
from tensorbundle.tools.operations.steps.recipe import step_of
from tensorbundle.tools.operations.steps.step import StepContext
from tensorbundle.tools.rewriting.plan import Carried, Literal

COPY = TransferOptions(data="copy")
COUNTER = attribute_key("save_counter")
GOLDEN = [golden for golden in load() if not golden.is_v1]
# What a `Saver` wrote: its tensors lie in the order of their names.
BY_SAVER = [
    golden.path
    for golden in GOLDEN
    if not golden.object_based
    and golden.prefix.split("/")[0] not in ("merged", "rare-dtypes", "raw-slices", "unreadable-slices")
]


def outline(plan):
    """Each output in order: its key, and the key of its source or None; slices as `emb[0,4:-]`."""
    return [
        (
            readable_key(each.key),
            readable_key(each.origin.key) if isinstance(each.origin, Carried) else None,
        )
        for each in plan.entries
    ]


def planned(source, to, destination="out/model", **options):
    with StepContext(destination) as context:
        step = step_of("convert", {"to": to, **options})
        return step.apply(context.open(source), context).plan()


def tf1_names(source, **options):
    """New name to old key of a conversion to TF1."""

    def owner(key):
        return (tb.TensorSlice.parse_key(key)[0] if key.startswith(b"\0") else key).decode()

    entries = planned(source, "tf1", **options).entries
    return {owner(each.key): owner(each.origin.key) for each in entries}


def origin_of(plan, key):
    [origin] = [each.origin for each in plan.entries if each.key == key.encode()]
    return origin


def graph_of(plan):
    value = origin_of(plan, OBJECT_GRAPH_KEY)
    assert isinstance(value, Literal)
    head = len(value.payload) - value.payload.index(b"\x0a", 5 if len(value.payload) < 132 else 6)
    return ObjectGraph.parse(value.payload[-head:])


def write(prefix, tensors, graph=None):
    with tb.create(prefix) as writer:
        for key, value in tensors.items():
            writer.add(key, value)
        if graph is not None:
            writer.add(OBJECT_GRAPH_KEY, np.array(graph.encode(), object))
    return prefix


def variable(name, key):
    return Node(attributes=[Attribute("VARIABLE_VALUE", name, key)])


def object_based(prefix, full_names):
    """A checkpoint with one scalar for each object path, in dictionaries; a path's value is its full name."""
    root = Node()
    for path, full_name in full_names.items():
        *above, name = split_path(path)
        node = root
        for part in above:
            node = node.children.setdefault(part, Node())
        node.children[name] = variable(full_name, attribute_key(path))
    tensors = {attribute_key(path): np.float32(number) for number, path in enumerate(full_names)}
    return write(prefix, tensors, ObjectGraph(root))


class TestToTF2:
    def test_order_keys_and_origins(self):
        assert outline(planned(V215 / "guide-tf1", "tf2")) == [
            (COUNTER, None),
            ("vars/a/.ATTRIBUTES/VARIABLE_VALUE", "a"),
            ("vars/b/.ATTRIBUTES/VARIABLE_VALUE", "b"),
            ("vars/scoped.Sc/.ATTRIBUTES/VARIABLE_VALUE", "scoped/c"),
            (OBJECT_GRAPH_KEY, None),
        ]

    def test_graph(self):
        graph = graph_of(planned(V215 / "guide-tf1", "tf2"))
        assert [path for path, _ in graph.walk()] == [
            "", "vars", "save_counter", "vars/a", "vars/b", "vars/scoped.Sc",
        ]  # fmt: skip
        assert [each.full_name for _, _, each in graph.attributes()] == ["save_counter", "a", "b", "scoped/c"]
        assert all(each.has_checkpoint_values for each in graph.nodes)

    def test_it_is_what_tensorflow_writes(self, tmp_path):
        """`tf.train.Checkpoint(var_list={name: variable}).save()` of the same variables, byte for byte."""
        destination = tmp_path / "ckpt-1"
        convert(V215 / "guide-tf1", destination, to="tf2", root="var_list", options=COPY)
        assert_same_files(destination, V215 / "tf2-in-session/tf2-ckpt-saved-in-session-1")

    @pytest.mark.parametrize(
        ("prefix", "number"),
        [
            ("model.ckpt-300", 300),
            ("run-5/ckpt-0", 0),
            ("run-5/model", 1),
            ("model.ckpt", 1),
            ("ckpt-", 1),
            ("ckpt--7", 7),
            ("ckpt-007", 7),
            ("ckpt-1.5", 1),
            ("7", 1),
            ("ckpt-" + "9" * 18, 10**18 - 1),
            ("ckpt-" + "9" * 19, 1),  # more than an int64 holds
            ("line\nbreak-8", 8),
        ],
    )
    def test_the_save_counter_is_the_number_in_the_name(self, prefix, number):
        assert saves_in_name(prefix) == number
        plan = planned(V215 / "guide-tf1", "tf2", prefix)
        assert origin_of(plan, COUNTER).expression.values == np.int64(number)

    def test_without_save_counter(self):
        plan = planned(V215 / "guide-tf1", "tf2", save_counter=False)
        assert [key for key, _ in outline(plan)] == [
            *(f"vars/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("a", "b", "scoped.Sc")),
            OBJECT_GRAPH_KEY,
        ]
        assert [path for path, _ in graph_of(plan).walk()][:2] == ["", "vars"]

    @pytest.mark.parametrize(
        ("root", "first"),
        [
            (None, "vars/a"),
            ("vars", "vars/a"),
            ("model", "model/a"),
            ("", "a"),
            ("model/vars", "model/vars/a"),
            ("v..1/.S", "v..1/.S/a"),  # as in keys: "v.1", then "/"
        ],
    )
    def test_roots(self, tmp_path, root, first):
        plan = planned(V215 / "guide-tf1", "tf2", root=root)
        assert [key for key, source in outline(plan) if source == "a"] == [attribute_key(first)]
        convert(V215 / "guide-tf1", tmp_path / "m", to="tf2", root=root, options=COPY)
        assert tf1_names(tmp_path / "m", root=root, names="keys").keys() == {"a", "b", "scoped/c"}

    @pytest.mark.parametrize("root", ["a.b", "v.", ".x"])
    def test_a_root_that_is_no_path(self, root):
        with pytest.raises(tb.BundleError, match=r"is not an escaped name") as caught:
            planned(V215 / "guide-tf1", "tf2", root=root)
        assert str(caught.value).endswith(repr(root.replace(".", "..")))

    @pytest.mark.parametrize("root", ["", "save_counter"])
    def test_a_variable_in_the_save_counters_place(self, tmp_path, root):
        source = write(tmp_path / "m", {"save_counter": np.float32(1)})
        with pytest.raises(tb.ConflictError, match=r"takes the save counter's place") as caught:
            planned(source, "tf2", root=root)
        assert (caught.value.path, caught.value.key) == (str(source), "save_counter")
        planned(source, "tf2", root=root, save_counter=False)

    @pytest.mark.parametrize("name", [".ATTRIBUTES", "x.ATTRIBUTES", "x/.ATTRIBUTES"])
    def test_names_that_tensorflow_can_not_restore(self, tmp_path, name):
        source = write(tmp_path / "m", {"a": np.float32(1), name: np.float32(1)})
        with pytest.raises(
            tb.UnsupportedError, match=r"ends in '.ATTRIBUTES'; rename the tensor first$"
        ) as caught:
            planned(source, "tf2")
        assert (caught.value.path, caught.value.key) == (str(source), name)

    def test_names_that_are_not_utf_8(self, tmp_path):
        source = write_bundle(tmp_path / "m", {b"\xff": plain("float32", [], b"1234")}, [b"1234"])
        with pytest.raises(
            tb.UnsupportedError, match=r"the names of objects are UTF-8, and this is not; rename"
        ) as caught:
            planned(source, "tf2")
        assert caught.value.key == "\udcff"

    def test_a_slice_that_no_tensor_lists(self, tmp_path):
        """Its key is not UTF-8 either, but to rename it would not help."""
        key = tb.TensorSlice.parse_spec("0,2:-").key(b"gone")
        source = write_bundle(tmp_path / "m", {key: plain("float32", [], b"1234")}, [b"1234"])
        with pytest.raises(tb.BundleError, match="slice"):
            planned(source, "tf2")

    def test_object_based_already(self):
        with pytest.raises(tb.UnsupportedError) as caught:
            planned(V215 / "guide-tf2", "tf2")
        prefix = V215 / "guide-tf2/tf2-ckpt-1"
        assert str(caught.value) == f"{prefix}: object-based (TF2) already; --to tf1 is the other way"

    def test_slices_get_keys_of_their_own(self, tmp_path):
        plan = planned(V215 / "partitioned-sharded", "tf2")
        new = "vars/emb/.ATTRIBUTES/VARIABLE_VALUE"
        assert outline(plan)[1:4] == [
            (f"{new}[{part}]", f"emb[{part}]") for part in ("0,4:0,4", "7,3:0,4", "4,3:0,4")
        ]
        assert list(plan.partitioned) == [new.encode(), b"vars/w2/.ATTRIBUTES/VARIABLE_VALUE"]
        assert plan.tensors == 5
        convert(V215 / "partitioned-sharded", tmp_path / "m", to="tf2", options=COPY)
        with tb.open(tmp_path / "m") as ckpt:
            slices = [key for key, _ in ckpt.index.raw_entries() if key.startswith(b"\0")]
            expected = [part.key(new.encode()) for part in plan.partitioned[new.encode()].slices]
        assert set(expected) < set(slices)
        assert len(slices) == 7

    def test_no_tensors(self, tmp_path):
        source = write(tmp_path / "m", {})
        assert outline(planned(source, "tf2")) == [(COUNTER, None), (OBJECT_GRAPH_KEY, None)]
        convert(source, tmp_path / "o", to="tf2")
        assert list(our_reading(tmp_path / "o")) == [OBJECT_GRAPH_KEY, COUNTER]


class TestToTF1:
    @pytest.mark.parametrize(
        ("source", "options", "expected"),
        [
            ("tf2-in-session", {}, {"a": "var_list/a", "b": "var_list/b", "scoped/c": "var_list/scoped.Sc"}),
            ("guide-tf2", {}, {"a": "variables/0", "b": "variables/1", "scoped/c": "variables/2"}),
            (
                "guide-tf2",
                {"root": "variables"},
                {"0": "variables/0", "1": "variables/1", "2": "variables/2"},
            ),
            (
                "guide-tf2",
                {"root": "variables", "names": "full-names"},
                {"a": "variables/0", "b": "variables/1", "scoped/c": "variables/2"},
            ),
            ("guide-tf2", {"names": "keys"}, {f"variables/{n}": f"variables/{n}" for n in range(3)}),
            ("guide-root-tf2", {}, {"a": "v/a", "b": "v/b", "c": "c", "d": "module/d"}),
            ("guide-root-tf2", {"root": "v"}, {"a": "v/a", "b": "v/b", "c": "c", "d": "module/d"}),
            (
                "guide-root-tf2",
                {"root": "v", "names": "keys"},
                {"a": "v/a", "b": "v/b", "c": "c", "module/d": "module/d"},
            ),
            ("shared-nodes", {}, {"kernel": "all/2", "bias": "decoder/bias"}),
        ],
        ids=lambda each: str(each)[:40],
    )
    def test_names(self, source, options, expected):
        found = tf1_names(V215 / source, **options)
        assert found == {name: attribute_key(path) for name, path in expected.items()}
        assert list(found) == sorted(found)

    def test_structures(self):
        paths = [
            "dict/z",
            "list/0",
            "list/2/0",
            "list/2/1/k",
            "pair/first",
            "pair/second/0",
            "tuple/0",
            "tuple/1/1",
        ]
        assert tf1_names(V215 / "structures", names="keys") == {path: attribute_key(path) for path in paths}

    def test_odd_names(self, tmp_path):
        found = {
            "a/b.c",
            "x.Sy",
            ".",
            "..",
            "/",
            "a b",
            "a:0",
            "\t",
            "ünïcode ✓",
            "part_0",
            "a//",
            ".ATTRIBUTES",
        }
        source = object_based(tmp_path / "m", {f"vars/{escape_name(name)}": "full" for name in found})
        assert tf1_names(source).keys() == found

    def test_an_empty_name(self):
        with pytest.raises(
            tb.ConflictError, match=r"variables without a distinct TF1 name: no name \(odd/\); "
        ):
            planned(V215 / "odd-names", "tf1", root="odd")

    def test_slots(self):
        source = V215 / "keras-legacy-adam-slots"
        path = "net/layer_with_weights-0/kernel"
        key = attribute_key(f"{path}/.OPTIMIZER_SLOT/optimizer/m")
        assert tf1_names(source)["Adam/dense/kernel/m"] == key
        found = tf1_names(source, names="keys")
        assert found[f"{path}/optimizer/m"] == key
        assert len(found) == 18

    def test_nested_dictionaries(self, tmp_path):
        """Directly in the dictionary, names are keys; deeper down there is no telling, and full names are taken."""
        source = object_based(
            tmp_path / "m", {"vars/x.Sy": "ignored", "vars/in/z": "full/z", "else": "other"}
        )
        assert tf1_names(source).keys() == {"x/y", "full/z", "other"}
        assert tf1_names(source, names="keys").keys() == {"x/y", "in/z", "else"}
        assert tf1_names(source, names="full-names").keys() == {"ignored", "full/z", "other"}
        assert tf1_names(source, root="vars/in").keys() == {"ignored", "z", "other"}
        assert tf1_names(source, root="").keys() == {"ignored", "full/z", "other"}

    @pytest.mark.parametrize(
        ("full_names", "options", "message"),
        [
            ({"a": "v", "b": "v", "c": "w"}, {}, "'v' (a, b); --names keys takes object paths instead"),
            ({"vars/v": "", "b": "v"}, {}, "'v' (b, vars/v); --names keys takes object paths instead"),
            ({"a": "", "b": ""}, {}, "no name (a, b); --names keys takes object paths instead"),
            ({"vars/a": "a", "a": "a"}, {"names": "keys"}, "'a' (a, vars/a)"),
            ({"a.Sb": "x", "a/b": "y"}, {"names": "keys"}, "'a/b' (a.Sb, a/b)"),
            (
                {"a": "v", "b": "v", "c": "w", "d": "w", "e": ""},
                {},
                "no name (e); 'v' (a, b); 'w' (c, d); --names keys takes object paths instead",
            ),
            (
                {f"v{number:02}": "v" for number in range(25)},
                {},
                (
                    f"'v' ({', '.join(f'v{number:02}' for number in range(20))}, ...); "
                    "--names keys takes object paths instead"
                ),
            ),
            (
                {f"v{number:02}": f"v{number // 2:02}" for number in range(60)},
                {},
                "; ".join(f"'v{n:02}' (v{2 * n:02}, v{2 * n + 1:02})" for n in range(20))
                + " and 10 more; --names keys takes object paths instead",
            ),
        ],
        ids=["two", "auto", "none", "keys", "escapes", "several", "long", "many"],
    )
    def test_clashes_are_listed(self, tmp_path, full_names, options, message):
        source = object_based(tmp_path / "m", full_names)
        with pytest.raises(tb.ConflictError) as caught:
            planned(source, "tf1", **options)
        found = sorted(
            str(caught.value).removeprefix(f"{source}: variables without a distinct TF1 name: ").split("; ")
        )
        assert found == sorted(message.split("; "))

    def test_what_has_no_name_is_left_out_with_its_reason(self):
        left_out = {
            (source, each.key): each.reason
            for source in ("python-state", "tables", "iterator", "registered-saver", "keras-adam")
            for each in planned(V215 / source, "tf1").left_out
            if each.key != COUNTER
        }
        assert left_out == {
            ("python-state", "progress/.ATTRIBUTES/py_state"): "not a variable: its object stores py_state",
            ("tables", "module/table/.ATTRIBUTES/table-keys"): "not a variable: its object stores table",
            ("tables", "module/table/.ATTRIBUTES/table-values"): "not a variable: its object stores table",
            ("iterator", "iterator/.ATTRIBUTES/ITERATOR_STATE"): "not a variable: its object stores ITERATOR",
            ("registered-saver", "blob/numbers"): "saved by Golden.Blob",
        }

    def test_the_save_counter_is_left_out(self):
        [left] = planned(V215 / "guide-tf2", "tf1").left_out
        assert (left.key, left.reason) == (COUNTER, "the save counter of tf.train.Checkpoint")

    def test_tensors_that_the_graph_does_not_know_and_variables_that_are_not_stored(self, tmp_path):
        root = Node(
            children={"lost": variable("lost", "lost/.ATTRIBUTES/VARIABLE_VALUE"), "v": variable("v", "k")}
        )
        source = write(tmp_path / "m", {"k": np.float32(1), "extra": np.float32(2)}, ObjectGraph(root))
        plan = planned(source, "tf1")
        assert outline(plan) == [("v", "k")]
        assert [(each.key, each.reason) for each in plan.left_out] == [
            ("lost/.ATTRIBUTES/VARIABLE_VALUE", "named in the object graph, but not stored"),
            ("extra", "no object of the graph owns it"),
        ]

    def test_objects_that_share_a_key(self, tmp_path):
        root = Node(children={"a": variable("x", "k"), "b": variable("y", "k")})
        source = write(tmp_path / "m", {"k": np.float32(7)}, ObjectGraph(root))
        for options in (TransferOptions(), COPY):
            convert(source, tmp_path / options.data, to="tf1", options=options)
            with tb.open(tmp_path / options.data) as ckpt:
                assert (ckpt["x"], ckpt["y"]) == (7, 7)

    def test_an_optimizer_as_its_own_slot(self, tmp_path):
        root = Node(children={"v": variable("v", "v/.ATTRIBUTES/VARIABLE_VALUE"), "o": Node()})
        optimizer = root.children["o"]
        optimizer.slots = [Slot("m", root.children["v"], root.children["v"]), Slot("o", optimizer, optimizer)]
        source = write(tmp_path / "m", {"v/.ATTRIBUTES/VARIABLE_VALUE": np.float32(1)}, ObjectGraph(root))
        assert tf1_names(source).keys() == {"v"}

    @pytest.mark.parametrize("root", ["nope", "vars/", "a.b"])
    def test_a_root_that_is_not_there(self, tmp_path, root):
        source = object_based(tmp_path / "m", {"vars/a": "a"})
        with pytest.raises(tb.TensorNotFoundError, match="no such object") as caught:
            planned(source, "tf1", root=root)
        assert caught.value.key == root

    def test_name_based_already(self):
        with pytest.raises(tb.UnsupportedError) as caught:
            planned(V215 / "guide-tf1", "tf1")
        prefix = V215 / "guide-tf1/tf1-ckpt"
        assert str(caught.value) == f"{prefix}: name-based (TF1) already; --to tf2 is the other way"

    def test_a_path_that_is_not_escaped(self, tmp_path):
        """The graph says where an object is, and its local names may be anything."""
        root = Node(children={"a.b": variable("x", "k")})
        source = write(tmp_path / "m", {"k": np.float32(7)}, ObjectGraph(root))
        assert tf1_names(source, names="keys") == {"a.b": "k"}


@pytest.mark.parametrize("source", [SAMPLE, *BY_SAVER], ids=lambda each: f"{each.parent.name}/{each.name}")
def test_there_and_back_gives_the_same_bytes(tmp_path, source):
    convert(source, tmp_path / "two", to="tf2", options=COPY)
    convert(tmp_path / "two", tmp_path / "one", to="tf1", options=COPY)
    assert_same_files(tmp_path / "one", source)


NAME_BASED = [golden for golden in load() if not golden.object_based]
READABLE = [golden for golden in NAME_BASED if not golden.prefix.startswith("unreadable-slices")]


@pytest.mark.parametrize("golden", READABLE, ids=str)
def test_every_golden_name_based_checkpoint(tmp_path, golden):
    expected = our_reading(golden.path)
    for data in ("share", "copy"):
        options = TransferOptions(data=data)
        convert(golden.path, tmp_path / f"two-{data}", to="tf2", options=options)
        convert(tmp_path / f"two-{data}", tmp_path / f"one-{data}", to="tf1", options=options)
        assert our_reading(tmp_path / f"one-{data}") == expected
    assert our_reading(tmp_path / "two-share") == our_reading(tmp_path / "two-copy")
    with tb.open(tmp_path / "two-copy") as ckpt:
        assert ckpt.object_graph.encode() == ckpt[OBJECT_GRAPH_KEY].item()


def test_a_tensor_that_lacks_a_slice_is_refused(tmp_path):
    source = V215 / "unreadable-slices/model.ckpt"
    with pytest.raises(tb.CorruptionError, match=r"key 'vars/hole.*: its slices hold 6 of the 8 elements"):
        convert(source, tmp_path / "two", to="tf2")


@pytest.mark.parametrize("golden", [golden for golden in GOLDEN if golden.object_based], ids=str)
def test_every_golden_object_based_checkpoint(tmp_path, golden):
    with tb.open(golden.path) as ckpt:
        variables = {
            each.checkpoint_key
            for path, _, each in ckpt.object_graph.attributes()
            if path != "save_counter" and each.name == "VARIABLE_VALUE" and each.checkpoint_key in ckpt
        }
    if golden.prefix.startswith("variable-root"):
        with pytest.raises(tb.ConflictError, match="no name"):
            planned(golden.path, "tf1", names="keys")
        return
    found = tf1_names(golden.path, names="keys")
    assert set(found.values()) == variables
    values = our_reading(golden.path) if "iterator" not in golden.prefix else {}
    for data in ("share", "copy"):
        convert(golden.path, tmp_path / data, to="tf1", names="keys", options=TransferOptions(data=data))
        got = our_reading(tmp_path / data)
        assert got.keys() == found.keys()
        assert not values or got == {name: values[key] for name, key in found.items()}


@st.composite
def name_based(draw):
    """A function that writes a name-based checkpoint of one or two data shards, some tensors in slices."""
    usable = names.filter(lambda each: not each.endswith(".ATTRIBUTES") and each != OBJECT_GRAPH_KEY)
    strings = st.lists(st.binary(max_size=9), max_size=3).map(
        lambda found: np.array([*found, b""], object)[:-1]
    )
    tensors = draw(st.dictionaries(usable, st.one_of(arrays(), strings), max_size=6))
    new_shards = draw(st.sets(st.sampled_from(sorted(tensors) or [""]), max_size=1))
    sliced = draw(st.sets(st.sampled_from(sorted(tensors) or [""]), max_size=2))

    def write_to(prefix):
        with tb.create(prefix) as writer:
            for name, value in tensors.items():
                if name in new_shards:
                    writer.start_shard()
                rows = value.shape[0] if name in sliced and value.ndim else 1
                if rows == 1:
                    writer.add(name, value)
                for row in range(rows if rows > 1 else 0):
                    part = tb.TensorSlice(((row, 1), *[(0, -1)] * (value.ndim - 1)))
                    writer.add_slice(name, value.shape, part, value[row : row + 1])

    return write_to


@pytest.mark.slow
@given(name_based(), st.sampled_from([None, "", "model", "a/b..c"]), st.booleans())
def test_there_and_back_is_the_identity(write_to, root, save_counter):
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "os.fsync", lambda _: None
        )  # durability is not the question here, and takes most of the time
        base = Path(directory)
        write_to(base / "one")
        expected = our_reading(base / "one")
        if root == "" and "save_counter" in expected:
            return
        seen = {}
        for data in ("share", "copy"):
            options = TransferOptions(data=data)
            two, back = base / f"two-{data}", base / f"one-{data}"
            convert(base / "one", two, to="tf2", root=root, save_counter=save_counter, options=options)
            convert(two, back, to="tf1", root=root, names="keys", options=options)
            assert our_reading(back) == expected
            convert(
                two, back, to="tf1", names="full-names", options=TransferOptions(data=data, overwrite=True)
            )
            assert our_reading(back) == expected
            seen[data] = our_reading(two)
        assert seen["share"] == seen["copy"]
