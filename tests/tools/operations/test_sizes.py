"""Sizes as people write them."""

import pytest

import tensorbundle as tb
from tensorbundle.tools.operations.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("7B", 7),
        ("2k", 2000),
        ("2KB", 2000),
        ("2KiB", 2048),
        ("1.5MB", 1_500_000),
        ("512MiB", 512 << 20),
        ("2gb", 2_000_000_000),
        ("2GiB", 2 << 30),
        ("3 tb", 3 * 10**12),
        (" 1Ti ", 1 << 40),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 PB", "1iB", "1e9", "2GBs", "1,000"])
def test_what_is_none(text):
    with pytest.raises(tb.BundleError, match=r" is not a size such as 2GB or 512MiB$"):
        parse_size(text)
