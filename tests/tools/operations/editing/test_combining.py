"""Union and mean of checkpoints."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.cli import V215
from support.parts import EMB, write_parts
from support.rewriting import (
    COPY,
    assert_sound,
    by_path,
    data_files,
    finished,
    keras_like,
    lists,
    owned,
    rewritten,
    strings,
    tensors_in,
    tree,
    variable,
    write,
    write_objects,
)
from tensorbundle.dtypes import DType
from tensorbundle.proto.graph import Node, Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import rewrite
from tensorbundle.tools.operations.editing.combining import average
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import transfer


def averaged(sources, destination, *more, **options):
    """The draft's summary, and what was taken from the last."""
    opened = [tb.open(each) for each in sources]
    try:
        draft, from_last = average([Draft.of(each) for each in opened], *more)
        return transfer(draft.plan(), str(destination), TransferOptions(**options)), from_last
    finally:
        for each in opened:
            each.close()


class TestParts:
    """Of a save that TensorFlow did not merge; tests/interop holds the bytes against its own merge."""

    @pytest.mark.parametrize("data", ["share", "copy"])
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
    def test_slices_are_joined_in_whatever_order_parts_are_given(self, tmp_path, data, order):
        folder = write_parts(tmp_path)
        first, *others = (f"{folder}/part-{number:05}-of-00003" for number in order)
        options = TransferOptions(data=data)
        found = rewritten(first, tmp_path / "out", merge={"with": others}, options=options)
        assert (found["emb"] == EMB).all()
        assert found["step"] == 5
        rewritten(folder, tmp_path / "whole", compact=True)
        assert (tmp_path / "out.index").read_bytes() == (tmp_path / "whole.index").read_bytes()
        assert data_files(tmp_path / "out") == [f".data-{number:05}-of-00003" for number in range(3)]

    def test_not_all_of_them(self, tmp_path):
        folder = write_parts(tmp_path)
        with pytest.raises(
            tb.ConflictError, match=r"part-00001-of-00003: 1 of the 3 parts of this save are not"
        ):
            rewrite(
                f"{folder}/part-00000-of-00003",
                tmp_path / "out",
                merge={"with": [f"{folder}/part-00002-of-00003"], "prefer": "last"},
            )

    def test_one_part_has_the_object_graph(self, tmp_path):
        folder = write_parts(tmp_path)
        whole = finished(tree({"a": None, "b": None}))
        values = {key: np.float32(number) for number, key in enumerate(["a", "b"])}
        for number, (name, value) in enumerate(values.items()):
            with tb.create(folder / f"part-{number:05}-of-00003", overwrite=True) as writer:
                writer.add(attribute_key(name), value)
        with tb.create(folder / "part-00002-of-00003", overwrite=True) as writer:
            writer.add_object_graph(whole)
        first, *others = (f"{folder}/part-{number:05}-of-00003" for number in range(3))
        rewrite(first, tmp_path / "out", merge={"with": others})
        assert by_path(tmp_path / "out") == {"a": 0, "b": 1}

    def test_parts_by_other_names(self, tmp_path):
        """Their slices are joined too, unless they overlap."""
        folder = write_parts(tmp_path)
        for number in range(3):
            rewritten(folder / f"part-{number:05}-of-00003", tmp_path / f"no{number}", drop="emb")
        for number in range(3):
            for each in folder.glob(f"part-{number:05}-*"):
                each.rename(tmp_path / each.name.replace(f"part-{number:05}-of-00003", f"p{number}"))
        sources = [str(tmp_path / f"p{number}") for number in range(3)]
        found = rewritten(sources[0], tmp_path / "out", merge={"with": sources[1:]})
        assert (found["emb"] == EMB).all()
        with pytest.raises(
            tb.CorruptionError, match=r"key 'emb': its slices hold 28 of the 40 .* slices are missing"
        ):
            rewrite(sources[0], tmp_path / "few", merge={"with": sources[1:2]})
        with pytest.raises(tb.ConflictError, match=r"both this and .* have 'emb', 'step'"):
            rewrite(sources[0], tmp_path / "twice", merge={"with": str(tmp_path / "out")})

    @pytest.mark.parametrize(
        "step", [{"rename": {"step": "s"}}, {"compact": True}, {"cast": {"emb": "bfloat16"}}], ids=str
    )
    def test_nothing_is_written_with_missing_slices(self, tmp_path, step):
        source = write_parts(tmp_path) / "part-00000-of-00003"
        with pytest.raises(tb.CorruptionError, match="key 'emb': its slices hold 16 of the 40 elements"):
            rewrite(source, tmp_path / "out", **step)
        assert lists(rewritten(source, tmp_path / "out", drop="emb")) == {"step": 5}


class TestMerge:
    def test_union(self, tmp_path):
        a = write(tmp_path / "a", {"x": 1.0, "y": 2.0})
        b = write(tmp_path / "b", {"z": 3.0, "a": 4.0})
        assert lists(rewritten(a, tmp_path / "out", merge={"with": b})) == {"a": 4, "x": 1, "y": 2, "z": 3}

    @pytest.mark.parametrize("data", ["share", "copy"])
    def test_shards_are_numbered_on(self, tmp_path, data):
        """Inputs with several data shards each; TensorFlow's own merge counts these wrong."""
        tensors = [{f"{name}{number}": np.float32([number]) for number in range(3)} for name in "abc"]
        sources = [
            write(tmp_path / str(number), each, new_shard_at=list(each)[1 : 1 + number])
            for number, each in enumerate(tensors)
        ]
        options = TransferOptions(data=data)
        found = rewritten(sources[0], tmp_path / "out", merge={"with": sources[1:]}, options=options)
        assert lists(found) == {f"{name}{number}": [number] for name in "abc" for number in range(3)}
        assert data_files(tmp_path / "out") == [f".data-{number:05}-of-00006" for number in range(6)]
        with tb.open(tmp_path / "out") as ckpt:
            shards = {key: entry.shard for key, entry in ckpt.entries()}
        assert list(shards.values()) == [0, 0, 0, 1, 2, 2, 3, 4, 5]

    @pytest.mark.parametrize(("prefer", "value"), [("first", [1, 1]), ("last", [3, 3, 3])])
    def test_prefer(self, tmp_path, prefer, value):
        sources = [
            write(tmp_path / str(number), {"x": np.full(number + 1, number + 1.0), f"own{number}": number})
            for number in range(3)
        ]
        found = rewritten(sources[1], tmp_path / "out", merge={"with": [sources[2]], "prefer": "first"})
        assert found["x"].tolist() == [2, 2]
        found = rewritten(sources[0], tmp_path / "o", merge={"with": sources[1:], "prefer": prefer})
        assert found["x"].tolist() == ([1] if prefer == "first" else value)
        assert list(found) == ["own0", "own1", "own2", "x"]

    def test_prefer_whatever_is_partitioned(self, tmp_path):
        """The slices of the one that does not count go with it."""
        a = write(tmp_path / "a", {"x": np.arange(4.0)}, cuts={"x": (2, 0)})
        b = write(tmp_path / "b", {"x": np.arange(6.0)}, cuts={"x": (3, 0)})
        for prefer, count in (("first", 4), ("last", 6)):
            found = rewritten(a, tmp_path / prefer, merge={"with": b, "prefer": prefer})
            assert found["x"].tolist() == list(range(count))

    def test_clashes(self, tmp_path):
        a = write(tmp_path / "a", {f"{number:02}": 1.0 for number in range(12)})
        b = write(tmp_path / "b", {f"{number:02}": 1.0 for number in range(12)})
        shown = ", ".join(f"'{number:02}'" for number in range(10))
        with pytest.raises(tb.ConflictError) as caught:
            rewrite(a, tmp_path / "out", merge={"with": b})
        assert str(caught.value) == (
            f"{b}: both this and {a} have {shown} and 2 more; --prefer first or last decides, NAME=CKPT keeps both"
        )

    def test_names(self, tmp_path):
        a = write(tmp_path / "a", {"x": np.arange(4.0)}, cuts={"x": (2, 0)})
        found = rewritten(a, tmp_path / "out", merge={"with": {"old": a, "older": a}})
        assert {key: value.tolist() for key, value in found.items()} == {
            key: [0, 1, 2, 3] for key in ("old/x", "older/x", "x")
        }
        assert len(data_files(tmp_path / "out")) == 1  # the same file needs no second name

    def test_kinds_do_not_mix(self, tmp_path):
        a, b = write(tmp_path / "a", {"x": 1.0}), write_objects(tmp_path / "b", tree({"x": None}))
        with pytest.raises(tb.ConflictError, match=r"can't be merged; convert one kind first$"):
            rewrite(a, tmp_path / "out", merge={"with": b})

    def test_jobs_and_repetition(self, tmp_path):
        a, b = (
            write(tmp_path / name, {name: np.arange(9.0), f"{name}2": 1}, new_shard_at=[f"{name}2"])
            for name in "ab"
        )
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            rewrite(a, tmp_path / name / "out", merge={"with": b}, options=COPY)
        assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


class TestMergeObjects:
    def test_union_of_roots(self, tmp_path):
        a = write_objects(tmp_path / "a", tree({"x": None, "save_counter": None}))
        b = write_objects(tmp_path / "b", tree({"y": {"z": None}, "save_counter": None}), 100)
        rewrite(a, tmp_path / "out", merge={"with": b})
        assert by_path(tmp_path / "out") == {"x": 0, "save_counter": 1, "y/z": 101}

    def test_under_a_name(self, tmp_path):
        """Paths of slots have their optimizer's path in them, which changes too."""
        a, b = write_objects(tmp_path / "a", keras_like()), write_objects(tmp_path / "b", keras_like(), 100)
        rewrite(a, tmp_path / "out", merge={"with": {"te.a/cher": b}})
        root = keras_like()
        other = keras_like()
        del other.children["save_counter"]
        root.children["te.a/cher"] = other
        expected = [(path, each.checkpoint_key) for path, _, each in finished(root).attributes()]
        found = list(owned(tmp_path / "out"))
        assert [each[:2] for each in found] == expected
        before = by_path(b)
        assert {path: value for path, _, value in found if path.startswith("te..a.Scher/")} == {
            "te..a.Scher/" + path.replace("/.OPTIMIZER_SLOT/", "/.OPTIMIZER_SLOT/te..a.Scher/"): value
            for path, value in before.items()
            if path != "save_counter"
        }
        assert_sound(tmp_path / "out")

    def test_renamed_after_it(self, tmp_path):
        """What was merged under a name can be moved on, slots and all."""
        a = write_objects(tmp_path / "a", tree({"z": None, "save_counter": None}))
        b = write_objects(tmp_path / "b", keras_like(), 100)
        rewrite(a, tmp_path / "out", merge={"with": {"x": b}}, rename={"x": "y"})
        assert sorted(by_path(tmp_path / "out").values()) == [0, 1, *range(101, 110)]

    @pytest.mark.parametrize(("prefer", "first"), [("first", 0), ("last", 100)])
    def test_prefer(self, tmp_path, prefer, first):
        a, b = write_objects(tmp_path / "a", keras_like()), write_objects(tmp_path / "b", keras_like(), 100)
        rewrite(a, tmp_path / "out", merge={"with": b, "prefer": prefer})
        found, expected = by_path(tmp_path / "out"), {"first": by_path(a), "last": by_path(b)}[prefer]
        assert found == expected | {"save_counter": 0}
        assert first in (0, 100)

    def test_clash(self, tmp_path):
        a, b = write_objects(tmp_path / "a", keras_like()), write_objects(tmp_path / "b", keras_like(), 100)
        with pytest.raises(
            tb.ConflictError, match=r"have 'model', 'optimizer'; --prefer first or last decides"
        ):
            rewrite(a, tmp_path / "out", merge={"with": b})

    def test_an_object_that_both_parts_lead_to(self, tmp_path):
        """The loser's shared object lives on where it is still known, with its own values."""
        shared = variable()
        a = write_objects(tmp_path / "a", tree({"m": {"w": shared}, "other": {"w": shared}}))
        b = write_objects(tmp_path / "b", tree({"m": {"v": None}}), 100)
        rewrite(a, tmp_path / "out", merge={"with": b, "prefer": "last"})
        assert by_path(tmp_path / "out") == {"m/v": 100, "other/w": 0}

    def test_edges_back_to_the_root(self, tmp_path):
        holder = tree({"w": None})
        root = tree({"m": holder, "save_counter": None})
        holder.children["parent"] = root
        b = write_objects(tmp_path / "b", root, 100)
        a = write_objects(tmp_path / "a", tree({"x": None}))
        rewrite(a, tmp_path / "flat", merge={"with": b})
        assert sorted(by_path(tmp_path / "flat")) == ["m/w", "save_counter", "x"]
        rewrite(a, tmp_path / "named", merge={"with": {"b": b}})
        assert sorted(by_path(tmp_path / "named")) == ["b/m/w", "save_counter", "x"]
        with tb.open(tmp_path / "named") as ckpt:
            assert ckpt.object_graph["b/m/parent"] is ckpt.object_graph["b"]

    def test_a_root_with_values(self, tmp_path):
        """A checkpoint of a variable alone, or of an optimizer alone."""
        root = variable("v")
        root.children["x"] = variable()
        root.slots = [Slot("m", root.children["x"], variable())]
        b = write_objects(tmp_path / "b", root, 100)
        a = write_objects(tmp_path / "a", tree({"y": None}))
        with pytest.raises(
            tb.ConflictError, match=r"b: its root object has values of its own; put it under a name"
        ):
            rewrite(a, tmp_path / "out", merge={"with": b})
        rewrite(a, tmp_path / "out", merge={"with": {"r": b}})
        assert sorted(by_path(tmp_path / "out").values()) == [0, 100, 101, 102]

    @pytest.mark.parametrize(
        "golden",
        ["keras-adam/ckpt-1", "keras-legacy-adam-slots/ckpt-1", "tables/ckpt-1", "shared-nodes/ckpt-1"],
    )
    def test_golden_under_a_name(self, tmp_path, golden):
        a = write_objects(tmp_path / "a", tree({"y": None}))
        source = V215 / golden
        if not source.with_name(f"{source.name}.index").exists():
            pytest.skip("has another name")
        rewrite(a, tmp_path / "out", merge={"with": {"g": str(source)}})
        assert_sound(tmp_path / "out")
        counter = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
        expected = [value for key, value in tensors_in(source).items() if key != counter]
        found = [value for key, value in tensors_in(tmp_path / "out").items() if key.startswith("g/")]
        assert sorted(map(repr, found)) == sorted(map(repr, expected))


class TestAverage:
    def test_mean(self, tmp_path):
        sources = [
            write(
                tmp_path / str(number),
                {"w": np.float32([number, 1]), "d": float(number**2), "s": strings(b"x")},
            )
            for number in range(3)
        ]
        summary, from_last = averaged(sources, tmp_path / "out")
        assert lists(tb.open(tmp_path / "out")) == {"w": [1, 1], "d": 5 / 3, "s": [b"x"]}
        assert (from_last, summary.tensors) == ([], 3)
        assert_sound(tmp_path / "out")

    def test_what_is_no_mean_is_from_the_last(self, tmp_path):
        common = {"w": np.float16(1), "same": np.int32(4), "flag": np.bool_(True)}
        a = write(tmp_path / "a", {**common, "step": np.int64(1), "s": strings(b"a"), "c": np.complex64(2j)})
        b = write(tmp_path / "b", {**common, "step": np.int64(2), "s": strings(b"b"), "c": np.complex64(4)})
        _, from_last = averaged([a, b], tmp_path / "out")
        assert sorted(from_last) == ["s", "step"]
        found = lists(tb.open(tmp_path / "out"))
        assert found == {"w": 1, "same": 4, "flag": True, "step": 2, "s": [b"b"], "c": 2 + 1j}

    @pytest.mark.parametrize(("last", "expected"), [([0, 1, 2, 4], ["n"]), ([0, 1, 2, 3], [])], ids=str)
    def test_partitioned_integers_that_differ(self, tmp_path, last, expected):
        """Told by the checksums of the slices: the tensor's own entry has none."""
        values = {"a": [0, 1, 2, 3], "b": last}
        sources = [write(tmp_path / name, {"n": np.array(values[name])}, cuts={"n": (2, 0)}) for name in "ab"]
        _, from_last = averaged(sources, tmp_path / "out")
        assert from_last == expected
        assert tb.open(tmp_path / "out")["n"].tolist() == last

    def test_partitioned_in_different_ways(self, tmp_path):
        values = np.arange(12, dtype=np.float32).reshape(3, 4)
        same = {"n": np.arange(4), "k": np.arange(4).reshape(2, 2)}
        rows = dict.fromkeys("wnmk", (2, 0))
        a = write(tmp_path / "a", {"w": values, "m": np.arange(4), **same}, cuts=rows)
        columns = {"w": (2, 1), "k": (2, 1)}
        b = write(tmp_path / "b", {"w": values + 2, "m": np.arange(4) + 1, **same}, cuts=columns)
        _, from_last = averaged([a, b], tmp_path / "out")
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt["w"].tolist() == (values + 1).tolist()
            assert [str(each) for each in ckpt.entry("w").slices] == ["0,3:0,2", "0,3:2,2"]
        assert from_last == ["m"]

    def test_accumulator(self, tmp_path):
        sources = [
            write(tmp_path / str(number), {"w": np.float32(value)})
            for number, value in enumerate([1, 2**-24, 2**-24, 2**-24])
        ]
        for accumulator, expected in (("float64", (1 + 3 * 2.0**-24) / 4), ("float32", 0.25)):
            averaged(sources, tmp_path / accumulator, DType[accumulator])
            assert tb.open(tmp_path / accumulator)["w"] == np.float32(expected)

    def test_objects(self, tmp_path):
        a, b = write_objects(tmp_path / "a", keras_like()), write_objects(tmp_path / "b", keras_like(), 100)
        _, from_last = averaged([a, b], tmp_path / "out")
        assert from_last == ["save_counter/.ATTRIBUTES/VARIABLE_VALUE"]
        expected = {path: value + 50 for path, value in by_path(a).items()} | {"save_counter": 100}
        assert by_path(tmp_path / "out") == expected

    @pytest.mark.parametrize(
        ("b", "message"),
        [
            ({"x": 1.0}, r"b: has no 'w'$"),
            ({"x": 1.0, "w": 1.0, "v": 1.0}, r"a: has no 'v'$"),
            ({"x": 1.0, "w": np.float32(1)}, r"a: key 'w': float64 \[\], in \S+b float32 \[\]$"),
            ({"x": [1.0], "w": 1.0}, r"a: key 'x': float64 \[\], in \S+b float64 \[1\]$"),
        ],
    )
    def test_what_does_not_agree(self, tmp_path, b, message):
        sources = [write(tmp_path / "a", {"x": 1.0, "w": 1.0}), write(tmp_path / "b", b)]
        with pytest.raises(tb.ConflictError, match=message):
            averaged(sources, tmp_path / "out")

    def test_damage(self, tmp_path):
        sources = [write(tmp_path / name, {"w": np.ones(100)}) for name in "ab"]
        with (tmp_path / "a.data-00000-of-00001").open("r+b") as file:
            file.write(b"\1")
        with pytest.raises(tb.CorruptionError, match="crc32c") as caught:
            averaged(sources, tmp_path / "out")
        assert caught.value.path == str(tmp_path / "a.data-00000-of-00001")
        averaged(sources, tmp_path / "out", verify=False)


class TestListsOfAnotherOrder:
    """Keras 3 exports list all variables in the order of a set, which is another one in each export."""

    def export(self, prefix, names, first):
        listed = [variable(name) for name in names]
        root = tree({"_all_variables": {str(number): each for number, each in enumerate(listed)}})
        values = {name: np.float32([first + number]) for number, name in enumerate(sorted(names))}
        graph = finished(root)
        tensors = {each.checkpoint_key: values[each.full_name] for _, _, each in graph.attributes()}
        return write(prefix, tensors, graph=graph)

    def test_names_tell(self, tmp_path):
        one = self.export(tmp_path / "a", [f"sequential/{name}/kernel" for name in "abc"], 0)
        other = self.export(tmp_path / "b", [f"sequential_1/{name}/kernel" for name in "cab"], 10)
        found = lists(rewritten(one, tmp_path / "out", average={"with": [other]}))
        assert list(found.values()) == [[7], [5], [6]]

    def test_names_do_not_tell(self, tmp_path):
        one = self.export(tmp_path / "a", ["p/kernel", "q/kernel"], 0)
        other = self.export(tmp_path / "b", ["r/kernel", "s/kernel"], 10)
        with pytest.raises(
            tb.ConflictError, match=r"names do not tell which tensors here are .*_all_variables/0"
        ):
            rewrite(one, tmp_path / "out", average={"with": [other]})


def test_the_mean_of_what_two_optimizers_keep(tmp_path):
    """At equal keys each has something else: a sum of squared gradients, and their mean."""

    def save(name, edge, role):
        optimizer = tree(
            {"_variables": {}, "_iterations": variable("iteration"), edge: {"0": variable(f"{role}/w")}}
        )
        optimizer.children["_variables"].children |= {"1": optimizer.children[edge].children["0"]}
        graph = finished(Node(children={"w": variable("w"), "optimizer": optimizer}))
        tensors = {
            each.checkpoint_key: np.int64(3) if path.endswith("_iterations") else np.float32([1, 2])
            for path, _, each in graph.attributes()
        }
        return write(tmp_path / name, tensors, graph=graph)

    sources = [save("a", "_momentums", "m"), save("b", "_accumulators", "accumulator")]
    with tb.open(sources[0]) as a, tb.open(sources[1]) as b:
        assert a.keys() == b.keys()
    with pytest.raises(
        tb.ConflictError, match=r"names do not tell which tensors here are .*optimizer/_variables/1"
    ):
        rewrite(sources[0], tmp_path / "out", average={"with": sources[1:]})
