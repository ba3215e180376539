"""`_repr_html_` of what notebooks show."""

from html.parser import HTMLParser

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from tensorbundle.markup import MOST_ROWS, html_table
from tensorbundle.tools import forecast, rename
from tensorbundle.tools.rewriting.draft import Draft

HOSTILE = "</td><script>alert(1)</script>&\x1b[31m\u202e"


class Tags(HTMLParser):
    """Collects the tags and the text of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


def check(value, *expected):
    found = Tags(value._repr_html_())
    assert found.tags <= {"p", "b", "table", "tr", "th", "td"}
    text = "\n".join(found.text)
    assert text.replace("\n", "").isprintable()
    for each in expected:
        assert each in text


@pytest.fixture
def hostile(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add(HOSTILE, np.zeros((2, 3), np.float32))
        writer.add_object_graph(tb.ObjectGraph.from_names([HOSTILE]))
    return tmp_path / "m"


def test_checkpoints(hostile):
    with tb.open(hostile) as ckpt:
        check(ckpt, "<script>alert(1)</script>", "float32", "[2,3]", "24")


def test_object_graphs(hostile):
    with tb.open(hostile) as ckpt:
        check(ckpt.object_graph, "(root)", "<script>alert(1)<.Sscript>")


def test_summaries(hostile, tmp_path):
    check(rename(hostile, tmp_path / "<b>", {"vars*": "w*"}), "wrote", "/<b>", "bytes_written")


def test_plans(hostile):
    with tb.open(hostile) as ckpt:
        check(Draft.of(ckpt).plan(), "plan of 2 tensors", "carried", "<script>alert(1)</script>")


def test_forecasts(hostile):
    check(
        forecast(hostile, GOLDEN / "tf-2.21/guide-tf2"), "assert_consumed", "not restored", "<script>alert(1)"
    )


def test_few_rows_of_many():
    html = html_table("t", ("n",), ((number,) for number in range(MOST_ROWS + 5)), MOST_ROWS + 5)
    assert html.count("<tr>") == MOST_ROWS + 1
    assert "and 5 more" in html
