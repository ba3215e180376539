"""`tensorbundle report`: an HTML page; `tests/browser` looks at it in a browser."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.cli import V221
from support.reports import data_of
from tensorbundle.entries import BundleHeader
from tensorbundle.storage.local import LocalStore
from tensorbundle.tools import report


@pytest.fixture
def small(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a</script><b>", np.array([1, 2, np.nan], np.float32))
        writer.add("s", ["x", "yy"])
        writer.add("w", np.arange(6, dtype=np.int64).reshape(2, 3))
    return tmp_path / "m"


def test_a_page_of_one_checkpoint(run, small, tmp_path):
    [record] = run("report", small, "-o", tmp_path / "x.html", "--json").records
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert record == {"page": str(tmp_path / "x.html"), "bytes": len(page.encode())}
    data = data_of(page)
    assert data["tensors"]["keys"] == ["a</script><b>", "s", "w"]
    assert data["tensors"]["shapes"] == [[3], [2], [2, 3]]
    statistics = data["tensors"]["stats"]
    assert (statistics["nan"], statistics["max"]) == ([1, None, 0], [2, None, 5])
    assert [each and sum(each) for each in statistics["histogram"]] == [2, None, 6]
    [shard] = data["shards"]
    assert shard["size"] == (tmp_path / "m.data-00000-of-00001").stat().st_size
    assert [each[2] for each in shard["extents"]] == [0, 1, 2]
    assert (data["graph"], data["problems"]) == (None, [])


def test_nothing_of_a_checkpoint_is_markup(small):
    page = report(small)
    inside = page.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(inside)
    assert page.count("a</script>") == 0


def test_the_page_loads_nothing(small):
    page = report(small)
    head = page[: page.index("<style>")]
    assert "default-src 'none'" in head
    assert "src=" not in head
    assert "href=" not in head


def test_an_object_graph(run, tmp_path):
    run("report", V221 / "guide-tf2/tf2-ckpt-1", "-o", tmp_path / "x.html")
    data = data_of((tmp_path / "x.html").read_text(encoding="utf-8"))
    graph = data["graph"]
    with tb.open(V221 / "guide-tf2/tf2-ckpt-1") as ckpt:
        nodes = ckpt.object_graph.nodes
    assert graph["parents"][0] is None
    assert len({len(column) for column in graph.values()}) == 1
    assert len(graph["paths"]) == len(nodes)
    assert [dict(each) for each in graph["children"]] == [
        {name: child.id for name, child in node.children.items()} for node in nodes
    ]


def test_damage_is_a_problem_in_the_page(small):
    with open(f"{small}.data-00000-of-00001", "r+b") as file:
        file.write(b"\xff\xff")
    data = data_of(report(small))
    assert [each["key"] for each in data["problems"]] == ["a</script><b>"]


def test_quick_reads_no_values(run, small, tmp_path):
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"")
    run("report", small, "-o", tmp_path / "x.html", "--quick")
    assert data_of((tmp_path / "x.html").read_text(encoding="utf-8"))["tensors"]["stats"] is None


def test_two_checkpoints(run, small, tmp_path):
    run("drop", small, tmp_path / "n", "s")
    run("report", small, tmp_path / "n", "-o", tmp_path / "x.html")
    data = data_of((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert {row["key"]: row["change"] for row in data["rows"]} == {
        "a</script><b>": "same",
        "s": "removed",
        "w": "same",
    }


def test_an_existing_page_stays(run, small, tmp_path):
    (tmp_path / "x.html").write_text("mine")
    assert run.error("report", small, "-o", tmp_path / "x.html").endswith(
        "exists; use --overwrite (overwrite=True) to replace it"
    )
    assert (tmp_path / "x.html").read_text() == "mine"
    run("report", small, "-o", tmp_path / "x.html", "--overwrite")
    assert (tmp_path / "x.html").read_text().startswith("<!DOCTYPE html>")
    assert not list(tmp_path.glob("*.tmp"))


def test_where_it_cannot_write(run, small, tmp_path):
    message = f"{tmp_path / 'no'}: no such directory; make it first"
    assert run.error("report", small, "-o", tmp_path / "no" / "x.html") == message


def test_no_checkpoint(run, tmp_path):
    assert run.error("report", tmp_path / "none", "-o", tmp_path / "x.html")


def test_data_shards_that_are_not_there_are_not_looked_for(tmp_path, monkeypatch):
    opened = []
    open_file = LocalStore.open
    monkeypatch.setattr(LocalStore, "open", lambda store, path: opened.append(path) or open_file(store, path))
    write_bundle(tmp_path / "m", {b"a": plain("float32", [0], b"")}, header=BundleHeader(1_000_000))
    report(tmp_path / "m")
    assert len(opened) < 20
