"""Zip archives, against Python's own writer."""

import io
import struct
import zipfile
import zlib

import pytest

from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.tools.formats.zips import InflatedFile, members_of


class Bytes:
    path = "a.zip"

    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read(self, offset, size):
        assert 0 <= offset <= offset + size <= self.size, "asked for bytes that are not there"
        return self.data[offset : offset + size]


def archive(members, compression=zipfile.ZIP_STORED, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.comment = b"note"
            with file.open(info, "w", **options) as member:
                member.write(data)
        file.comment = b"PK\5\6 is no end record here"
    return buffer.getvalue()


MEMBERS = {"a.npy": b"x" * 100, "é/b": b"", "c": bytes(range(256)) * 10}


@pytest.mark.parametrize("wide", [False, True])
def test_stored(wide):
    data = archive(MEMBERS, force_zip64=wide)
    found = members_of(Bytes(data))
    assert {each.name: data[each.start : each.start + each.stored] for each in found} == MEMBERS
    assert [each.crc32 for each in found] == [zlib.crc32(each) for each in MEMBERS.values()]
    assert {each.comment for each in found} == {b"note"}
    assert not any(each.deflated for each in found)


def test_written_as_a_stream():
    class Stream(io.RawIOBase):
        data = b""

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w") as file, file.open("a", "w", force_zip64=True) as member:
        member.write(b"abc")
    (found,) = members_of(Bytes(stream.data))
    assert stream.data[found.start : found.start + found.stored] == b"abc"


def test_deflated_is_read_in_any_order():
    data = bytes(range(256)) * 20_000
    file = Bytes(archive({"a": data, "b": b""}, zipfile.ZIP_DEFLATED))
    member, empty = members_of(file)
    with InflatedFile(file, member) as inflated:
        assert inflated.size == len(data)
        for offset, size in ((0, 10), (5, 2_000_000), (len(data) - 3, 3), (100, 0), (7, 300)):
            assert inflated.read(offset, size) == data[offset : offset + size]
        assert inflated.read_ranges([(1, 2), (0, 1)]) == [b"\1\2", b"\0"]
        assert inflated.map() is None
        with pytest.raises(CorruptionError, match="10 bytes wanted at 5119999, it has 5120000"):
            inflated.read(len(data) - 1, 10)
    assert InflatedFile(file, empty).read(0, 0) == b""


def test_damaged_deflate_data():
    data = bytearray(archive({"a": b"abc" * 1000}, zipfile.ZIP_DEFLATED))
    member = members_of(Bytes(bytes(data)))[0]
    data[member.start] ^= 0x06  # another kind of block
    with pytest.raises(CorruptionError, match="member 'a': can't be inflated"):
        InflatedFile(Bytes(bytes(data)), member).read(0, 3000)


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


DATA = archive({"a": b"12345678"})
CENTRAL = DATA.index(b"PK\1\2")
END = DATA.index(b"PK\5\6")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no end record"),
        (DATA[:-1], "no end record"),
        (DATA + b"x", "no end record"),
        (patched(DATA, END + 12, struct.pack("<L", 10**6)), "a directory from .* its end record"),
        (patched(DATA, END + 4, b"\1\0"), "in several files"),
        (patched(DATA, END + 8, b"\2\0\2\0"), "2 members in a directory|no entry of the directory"),
        (patched(DATA, CENTRAL, b"PK\1\1"), "no entry of the directory"),
        (patched(DATA, CENTRAL + 8, b"\1\0"), "encrypted"),
        (patched(DATA, CENTRAL + 10, b"\x0c\0"), "compressed by method 12"),
        (patched(DATA, CENTRAL + 24, struct.pack("<L", 9)), "8 bytes stored of a member of 9"),
        (patched(DATA, CENTRAL + 20, b"\xff" * 8), "in no ZIP64 field"),
        (patched(DATA, CENTRAL + 28, b"\xff\xff"), "cut short"),
        (patched(DATA, CENTRAL + 42, struct.pack("<L", 10**6)), "after the end of the file"),
        (patched(DATA, CENTRAL + 42, struct.pack("<L", 1)), "no local header at its offset"),
        (patched(DATA, 28, b"\xff\xff"), "it is cut short"),
        (patched(DATA, 26, b"\x14\0"), "reaches into the directory"),
    ],
)
def test_damaged_archives(data, message):
    with pytest.raises((CorruptionError, UnsupportedError), match=message):
        members_of(Bytes(data))


def test_a_name_given_twice():
    with pytest.raises(CorruptionError, match="key 'a': two members of this name"):
        members_of(Bytes(archive({"a": b"1", "b": b"2"}).replace(b"b", b"a")))


def test_members_that_share_bytes():
    """Overlapping members are how a small archive becomes a large one."""
    data = archive({"a": b"1" * 50, "b": b"2" * 50})
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    with pytest.raises(CorruptionError, match="members 'a' and 'b' share bytes"):
        members_of(Bytes(patched(data, second + 42, struct.pack("<L", 0))))


def test_a_zip_bomb():
    """A member of 6 GiB in a few kilobytes; nothing is inflated to find that out."""
    data = archive({"a": b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED, force_zip64=True)
    at = data.index(b"PK\1\2")
    name = at + 46
    extra = struct.pack("<HHQ", 1, 8, 6 << 30)
    bomb = patched(data, at + 24, b"\xff" * 4)
    bomb = patched(bomb, at + 30, struct.pack("<H", len(extra)))
    bomb = bomb[: name + 1] + extra + bomb[name + 1 :]
    end = bomb.index(b"PK\5\6")
    bomb = patched(bomb, end + 12, struct.pack("<L", end - at))
    with pytest.raises(UnsupportedError, match=r"key 'a': .* bytes that expand to 6442450944"):
        members_of(Bytes(bomb))
