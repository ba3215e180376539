"""Options for URLs."""

import threading

import pytest

from tensorbundle.errors import ArgumentError
from tensorbundle.storage.settings import current_options, options_of_pairs, storage_options


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], {}),
        (["anon=true"], {"anon": True}),
        (
            ["s3.anon=true", "s3.endpoint_url=http://x/?a=b"],
            {"s3": {"anon": True, "endpoint_url": "http://x/?a=b"}},
        ),
        (['client_kwargs={"verify": false}'], {"client_kwargs": {"verify": False}}),
        (["max_concurrency=4"], {"max_concurrency": 4}),
        (["s3.secret=0123", "key=12"], {"s3": {"secret": "0123"}, "key": "12"}),  # which look like numbers
    ],
)
def test_pairs(pairs, expected):
    assert options_of_pairs(pairs) == expected


@pytest.mark.parametrize("pair", ["anon", "=x", ""])
def test_no_pair(pair):
    with pytest.raises(ArgumentError, match="KEY=VALUE"):
        options_of_pairs([pair])


def test_options_of_a_block_apply_in_all_threads():
    found = []
    with storage_options({"a": 1}), storage_options({"b": 2}):
        thread = threading.Thread(target=lambda: found.append(current_options()))
        thread.start()
        thread.join()
    assert found == [{"a": 1, "b": 2}]
    assert current_options() == {}
