"""What damaged bytes tell of how they were damaged."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import table_bytes, write_bundle
from support.cost import steps
from support.hostile import INPUTS
from tensorbundle.coding import crc32c, find_flipped_bit
from tensorbundle.entries import BundleHeader
from tensorbundle.table import FOOTER_BYTES, BlockHandle, Footer
from tensorbundle.tools import verify
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting import sectors, zeros
from tensorbundle.tools.operations.inspecting.damage import cause_of_index

DATA = "m.data-00000-of-00001"


@pytest.fixture
def ckpt(tmp_path):
    """Three tensors of random bytes: a (4000 bytes), b (60000), c (8000)."""
    random = np.random.default_rng(1)
    with tb.create(tmp_path / "m") as writer:
        for key, size in (("a", 1000), ("b", 15000), ("c", 2000)):
            writer.add(key, random.integers(1 << 32, size=size, dtype=np.uint32))
    return tmp_path


def causes(directory):
    return {each.key: each.cause for each in verify(directory / "m").problems}


def change(path, edit):
    data = bytearray(path.read_bytes())
    path.write_bytes(edit(data) or data)


def set_bytes(start, content):
    def edit(data):
        data[start : start + len(content)] = content

    return edit


@pytest.mark.parametrize("size", [1, 5, 1000, 70000])
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_found(size, bit):
    for at in {0, size // 2, size - 1}:
        data = bytearray(size)
        data[at] ^= 1 << bit
        assert find_flipped_bit(crc32c(data) ^ crc32c(bytes(size)), size) == (at, bit)


def test_two_flipped_bits_are_none():
    data = bytearray(1000)
    data[3] = data[700] = 1
    assert find_flipped_bit(crc32c(data) ^ crc32c(bytes(1000)), 1000) is None
    assert find_flipped_bit(0, 1000) is None


@pytest.mark.parametrize(
    ("edit", "key", "expected"),
    [
        (
            set_bytes(8192, b"\xff" * 4096),
            "b",
            "a damaged sector: the 4096 bytes from offset 0x2000 on are all 0xff",
        ),
        (
            lambda data: data.__setitem__(slice(20480, 20992), data[10240:10752]),
            "b",
            "a damaged sector: the 512 bytes from offset 0x5000 on are the same as those from offset 0x2800 on",
        ),
    ],
    ids=["constant", "twice"],
)
def test_sectors(ckpt, edit, key, expected):
    change(ckpt / DATA, edit)
    assert causes(ckpt) == {key: expected}


def test_a_sector_that_two_tensors_share(tmp_path):
    random = np.random.default_rng(2)
    with tb.create(tmp_path / "m") as writer:
        for number in range(8):
            writer.add(f"t{number}", random.integers(1 << 32, size=1000, dtype=np.uint32))
    change(tmp_path / DATA, set_bytes(3990, bytes(range(1, 30))))
    assert causes(tmp_path) == dict.fromkeys(
        ["t0", "t1"], "a damaged sector: the 512 bytes from offset 0xe00 on are in all of these tensors"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int64", "bool", "int8"])
@pytest.mark.parametrize("size", [512, 4096])
@pytest.mark.parametrize("content", ["random", "text"])
def test_a_sector_of_bytes_that_are_no_such_numbers(tmp_path, dtype, size, content):
    random = np.random.default_rng(1)
    values = random.normal(0, 5 if dtype.startswith("int") else 0.1, 40_000)
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.zeros(100, np.float32))
        writer.add("w", (values > 0) if dtype == "bool" else values.astype(dtype))
    text = b"Sectors of other files are often text, or parts of programs. " * 80
    start = 3 * 4096
    change(tmp_path / DATA, set_bytes(start, random.bytes(size) if content == "random" else text[:size]))
    expected = (
        f"a damaged sector: the {size} bytes from offset {start:#x} on are not like the rest of the tensor"
    )
    assert causes(tmp_path) == {"w": expected}


@pytest.mark.parametrize(
    ("start", "size"),
    [(4096, 4), (4000, 400), (4000, 1024), (4096, 8192)],
    ids=["a number", "less than a sector", "no whole sector", "most of it"],
)
def test_other_bytes_that_are_no_sector(tmp_path, start, size):
    """Also where the tensor has parts of different kinds, as biases of LSTMs have."""
    random = np.random.default_rng(1)
    parts = [random.normal(mean, 0.01, 1000) for mean in (0, 1, 0, 100)]
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.concatenate(parts).astype(np.float32))
    change(tmp_path / DATA, set_bytes(start, random.bytes(size)))
    assert causes(tmp_path)["w"].startswith("its bytes changed")


def test_shifted_data(ckpt):
    change(ckpt / DATA, lambda data: b"head" + data)
    assert causes(ckpt)["c"] == "the data is shifted by +4 bytes: found at offset 0xfa04"


@pytest.mark.parametrize("inserted", [b"x", b"seventeen bytes..", b""])
def test_shifted_strings_and_tensors_after_many_others(tmp_path, inserted):
    """Of a shift that was found once, others are known, also strings."""
    random = np.random.default_rng(1)
    with tb.create(tmp_path / "m") as writer:
        for number in range(40):
            writer.add(f"t{number:02}", random.integers(1 << 32, size=300, dtype=np.uint32))
        writer.add("words", np.array([b"one", b"two"], object))
        writer.add("z", random.integers(1 << 32, size=300, dtype=np.uint32))
    change(tmp_path / DATA, lambda data: inserted + data if inserted else data[3:])
    found = causes(tmp_path)
    assert len(found) == 42
    shift = len(inserted) or -3
    gone = {"t00", "z"} if shift < 0 else set()  # its bytes were lost; it is outside of the file
    for key in found.keys() - gone:
        assert found[key].startswith(f"the data is shifted by {shift:+} bytes: "), key


def test_zeros_of_another_tensor(tmp_path):
    """Where the data is shifted, some tensors are zero because others were."""
    random = np.random.default_rng(1)
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", random.integers(1 << 32, size=300, dtype=np.uint32))
        writer.add("m", np.zeros(3000, np.float32))
        writer.add("w", random.integers(1 << 32, size=100, dtype=np.uint32))
    data = (tmp_path / DATA).read_bytes()
    (tmp_path / DATA).write_bytes(data[:600] + bytes(range(1, 251)) * 4 + data[600:])
    found = causes(tmp_path)
    assert found["w"].startswith("the data is shifted by +1000 bytes")
    assert found["m"].startswith("the data is shifted by +1000 bytes")


def test_a_flipped_bit_in_a_string(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("words", np.array([b"one", b"two" * 1000, b"three"], object))
    change(tmp_path / DATA, lambda data: data.__setitem__(2000, data[2000] ^ 2))
    assert causes(tmp_path)["words"].startswith("bit 1 of the byte at offset 0x7d0 is flipped: ")


def test_text_in_place_of_a_shard(ckpt):
    (ckpt / DATA).write_bytes(b'{"message": "Not Found"}')
    assert set(causes(ckpt).values()) == {"text: an error message in place of the file, or something else"}


def test_a_tensor_of_text_is_no_text_file(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("text", np.frombuffer(b"characters " * 900, np.uint8))
    change(tmp_path / DATA, lambda data: data.__setitem__(2000, data[2000] ^ 2))
    assert causes(tmp_path)["text"].startswith("bit 1 of the byte at offset 0x7d0 is flipped: ")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda data: data[:2000], "the file was cut short"),
        (lambda data: data[:-1], "the file was cut short"),
        (lambda data: data.replace(b"\n", b"\r\n"), "line endings were converted (LF became CRLF)"),
        (lambda data: b"<html>" + data, "an HTML page"),
        (lambda data: b"hello", "text: "),
        (lambda data: data[:2000] + b"\x07" + data[2001:], "its bytes changed after they were written"),
    ],
)
def test_causes_in_an_archive(tmp_path, edit, expected):
    path = tmp_path / "m.npz"
    np.savez(path, a=np.frombuffer(b"line\n" * 800, np.uint8))
    path.write_bytes(edit(path.read_bytes()))
    [problem] = verify(path).problems
    assert problem.cause.startswith(expected)


def test_the_bytes_of_another_tensor(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        for key in "abcd":
            writer.add(key, np.full(10, ord(key)))
    data = (tmp_path / DATA).read_bytes()
    (tmp_path / DATA).write_bytes(data[80:160] + data[80:])
    assert causes(tmp_path) == {"a": "these are the bytes of 'b': index and data are from different saves"}


def test_line_endings(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.frombuffer(b"line\n" * 4000, np.uint8))
    change(tmp_path / DATA, lambda data: data.replace(b"\n", b"\r\n"))
    assert causes(tmp_path) == {
        "w": "line endings were converted (LF became CRLF): the file was copied as text"
    }


@pytest.mark.parametrize(
    ("sizes", "pairs"),
    [
        ([1000, 5000, 800, 3000, 50], [9000]),
        ([1000, 5000, 800, 3000, 50], [9000, 13000]),
        ([1000, 5000, 800, 3000, 50], [9000, 13000, 17001, 30000]),
        ([1000, 5000], [5000, 6000, 7000, 3000]),
        ([150_000, 50], [9000, 100_000, 100_010, 500_000]),
    ],
    ids=["one", "two in one", "more", "three in one", "only their absence tells"],
)
def test_line_ends_of_dos_that_were_converted(tmp_path, sizes, pairs):
    random = np.random.default_rng(1)
    with tb.create(tmp_path / "m") as writer:
        for number, size in enumerate(sizes):
            writer.add(f"t{number}", random.normal(0, 0.1, size).astype(np.float32))
    data = bytearray((tmp_path / DATA).read_bytes().replace(b"\r\n", b"\r\r"))
    for pair in pairs:
        data[pair : pair + 2] = b"\r\n"
    entries = {}
    with tb.open(tmp_path / "m", verify=False) as ckpt:
        for key, entry in ckpt.index.raw_entries():
            content = data[entry.offset : entry.offset + entry.nbytes]
            entries[key] = entry._replace(crc32c=crc32c(content))
    write_bundle(tmp_path / "m", entries)
    (tmp_path / DATA).write_bytes(data)
    assert causes(tmp_path) == {}
    (tmp_path / DATA).write_bytes(data.replace(b"\r\n", b"\n"))
    expected = "line endings were converted (CRLF became LF): the file was copied as text"
    found = causes(tmp_path)
    assert set(found.values()) == {expected}
    assert found[f"t{len(sizes) - 1}"] == expected


def test_text_conversion(ckpt):
    content = (ckpt / DATA).read_bytes().decode("utf-8", "replace").encode()
    (ckpt / DATA).write_bytes(content)
    assert all(cause.startswith("the file was decoded as text: ") for cause in causes(ckpt).values())


def test_a_wrong_byte_order_flag(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("words", np.array([b"one", b"two"], object))
    with tb.open(tmp_path / "m") as ckpt:
        entries = dict(ckpt.index.raw_entries())
    write_bundle(tmp_path / "m", entries, header=BundleHeader(1, big_endian=True))
    assert causes(tmp_path) == {
        "words": "the byte order flag in the index's header is wrong: the data is little-endian"
    }


def blocks_end(data):
    """Where the data blocks of an index end."""
    return Footer.parse(data[-FOOTER_BYTES:]).metaindex_handle.offset


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda data: b"<html>404</html>", "an HTML page: the download failed"),
        (lambda data: data[:-60], "the end of the index is lost; its first 41 entries can be read"),
        (lambda data: data[:-60] + bytes(60), "zeros from offset 0x2f"),
        (
            lambda data: data.replace(b"\n", b"\r\n"),
            "line endings were converted (LF became CRLF): the file was copied as text",
        ),
        (lambda data: data.decode("utf-8", "replace").encode(), "the file was decoded as text: "),
        (lambda data: b"\x01nothing at all" * 10, None),
        (lambda data: b"", "the file is empty"),
        (lambda data: data[:40], "the file was cut short"),
        (lambda data: data[:9] + bytes([data[9] ^ 4]) + data[10:], "bit "),
        (lambda data: data[:9] + b"!!!" + data[12:], "its bytes changed after they were written"),
        (
            lambda data: bytes(blocks_end(data)) + data[blocks_end(data) :],
            "all zeros: these bytes were never",
        ),
        (lambda data: b"1234" + data[-FOOTER_BYTES:], None),
        (lambda data: data[:80], "the end of the index is lost"),
        (
            lambda data: data[:-20] + b"!" * 20,
            "the end of the index is lost; its first 41 entries can be read",
        ),
        (
            lambda data: data[:-FOOTER_BYTES] + Footer(BlockHandle(0, 0), BlockHandle(0, 0)).encode(),
            "the end of the index is lost; its first 41 entries can be read",
        ),
        (lambda data: data[:70] + data[73:], "the data is shifted by -3 bytes: found at offset 0x"),
        (lambda data: data[:70] + b"new" + data[70:], "the data is shifted by +3 bytes: found at offset 0x"),
        (lambda data: table_bytes([(b"a", b"b")]), "a table of another program, such as LevelDB"),
    ],
    ids=[
        "html",
        "cut",
        "zeros",
        "crlf",
        "text",
        "other",
        "empty",
        "short",
        "bit",
        "bytes",
        "block",
        "footer",
        "first bytes",
        "end",
        "nowhere",
        "fewer",
        "more",
        "leveldb",
    ],
)
def test_causes_in_an_index(tmp_path, edit, expected):
    with tb.create(tmp_path / "m") as writer:
        for number in range(40):
            writer.add(f"scope\n/{number:02}", np.float32(number))
    data = (tmp_path / "m.index").read_bytes()
    (tmp_path / "m.index").write_bytes(edit(data))
    with pytest.raises(tb.CorruptionError) as caught:
        tb.open(tmp_path / "m")
    found = cause_of_index(edit(data), caught.value.offset)
    if expected is None:
        assert found is None
    else:
        assert found.startswith(expected)
    assert cause_of_index(data) is None


@pytest.mark.parametrize("pairs", [1, 2])
def test_line_ends_of_dos_that_were_converted_in_an_index(tmp_path, pairs):
    with tb.create(tmp_path / "m") as writer:
        for number in range(40):
            name = "\r\n" if number % 20 == 1 and number < 20 * pairs else "\n"
            writer.add(f"{number:02}{name}{number:02}", np.float32(number))
    data = (tmp_path / "m.index").read_bytes()
    assert data.count(b"\r\n") == pairs
    found = cause_of_index(data.replace(b"\r\n", b"\n"), 0)
    assert found == "line endings were converted (CRLF became LF): the file was copied as text"
    changed = data.replace(b"\r\n", b"\n").replace(b"\n", b"\t")
    assert (
        cause_of_index(changed, 0)
        == f"the data is shifted by {-pairs} bytes: found at offset {find(data) - pairs:#x}"
    )


def find(data):
    """Where the index block of an index begins."""
    return Footer.parse(data[-FOOTER_BYTES:]).index_handle.offset


def test_tensors_that_overlap_are_not_all_searched_for_zeros(tmp_path, monkeypatch):
    """All of them together have fifty times as many bytes as the file."""
    prefix = INPUTS["damaged_overlaps"].make(tmp_path, 100)
    searched = []
    real = zeros._chunks
    monkeypatch.setattr(
        zeros, "_chunks", lambda file, stored: searched.append(stored.nbytes) or real(file, stored)
    )
    found = verify(prefix).problems
    assert sum(each.kind == "checksum" for each in found) == 100
    assert {each.cause for each in found if each.kind == "checksum"} == {cause_line("other-checkpoint")}
    assert 0 < sum(searched) < 12 * (tmp_path / "m.data-00000-of-00001").stat().st_size


def test_runs_of_one_byte_are_found_in_few_steps():
    data = b"".join(
        bytes([value]) * size for value, size in ((0, 600), (1, 511), (2, 512), (3, 255), (2, 1025))
    )
    assert list(sectors._runs(data)) == [(1111, 1623), (1878, 2903)]
    assert steps(lambda: list(sectors._runs((b"a" * 511 + b"b" * 511) * 40))) < 4000
