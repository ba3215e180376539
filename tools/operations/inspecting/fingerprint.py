"""The fingerprint of a SavedModel, which tells whether it still has the variables that it was saved with.

`fingerprint.pb` has, as `checkpoint_hash`, the FarmHash Fingerprint64 of the file `variables/variables.index`
(TensorFlow cc/saved_model/fingerprinting.cc, `HashCheckpointIndexFile`). No version of TensorFlow compares the two
when it loads.
"""

from __future__ import annotations

from typing import Final

from tensorbundle.coding import VARINT, fields
from tensorbundle.errors import BundleError
from tensorbundle.filenames import index_path
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import absolute, basename, dirname, join

__all__ = ["check_fingerprint", "fingerprint64"]

_CHECKPOINT_HASH: Final = 5  # a field of FingerprintDef, tensorflow/core/protobuf/fingerprint.proto
_MOST_BYTES: Final = 8 << 20  # of an index; Python needs 3 seconds for them

_MASK: Final = 2**64 - 1
_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F


def check_fingerprint(prefix: str) -> str | None:
    """How the index of a SavedModel's variables differs from its fingerprint; None if it does not, or there is none."""
    directory = dirname(absolute(prefix))
    store = store_of(directory)
    if basename(directory) != "variables":
        return None
    try:
        with store.open(join(dirname(directory), "fingerprint.pb")) as file:
            message = file.read(0, min(file.size, 1 << 20))
        expected = next(
            (
                value
                for number, wire_type, value in fields(message)
                if number == _CHECKPOINT_HASH and wire_type == VARINT and isinstance(value, int)
            ),
            None,
        )
        with store.open(index_path(prefix)) as file:
            if expected is None or file.size > _MOST_BYTES:
                return None
            found = fingerprint64(file.read(0, file.size))
    except (BundleError, OSError):
        return None
    if found == expected:
        return None
    return f"fingerprint.pb has the checkpoint_hash {expected}, this index has {found}"


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64 (farmhash.cc, `farmhashna::Hash64`)."""
    size = len(data)
    if size <= 32:
        return _hash_to_16(data) if size <= 16 else _hash_to_32(data)
    if size <= 64:
        return _hash_to_64(data)
    x, y = 81, (81 * _K1 + 113) & _MASK
    z = _mix(y * _K2 + 113) * _K2 & _MASK
    v = w = (0, 0)
    x = (x * _K2 + _word(data, 0)) & _MASK
    end = (size - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _step(data, at, x, y, z, v, w, _K1, 1)
    mul = (_K1 + ((z & 0xFF) << 1)) & _MASK
    rest = (size - 1) & 63
    w = (w[0] + rest, w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _step(data, end + rest - 63, x, y, z, v, w, mul, 9)
    first = _pair(v[0], w[0], mul) + _mix(y) * _K0 + z
    return _pair(first, _pair(v[1], w[1], mul) + x, mul)


def _step(
    data: bytes,
    at: int,
    x: int,
    y: int,
    z: int,
    v: tuple[int, int],
    w: tuple[int, int],
    mul: int,
    factor: int,
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * mul & _MASK
    y = _rotate(y + v[1] + _word(data, at + 48), 42) * mul & _MASK
    x ^= w[1] * factor & _MASK
    y = (y + v[0] * factor + _word(data, at + 40)) & _MASK
    z = _rotate(z + w[0], 33) * mul & _MASK
    v = _weak(data, at, v[1] * mul, x + w[0])
    w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
    return z, y, x, v, w  # x and z are swapped


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    a = (a + _word(data, at)) & _MASK
    last = _word(data, at + 24)
    b = _rotate(b + a + last, 21)
    c = a
    a = (a + _word(data, at + 8) + _word(data, at + 16)) & _MASK
    b = (b + _rotate(a, 44)) & _MASK
    return (a + last) & _MASK, (b + c) & _MASK


def _hash_to_16(data: bytes) -> int:
    size = len(data)
    mul = (_K2 + size * 2) & _MASK
    if size >= 8:
        a = (_word(data, 0) + _K2) & _MASK
        b = _word(data, size - 8)
        return _pair(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if size >= 4:
        a = int.from_bytes(data[:4], "little")
        return _pair(size + (a << 3), int.from_bytes(data[-4:], "little"), mul)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        return _mix(y * _K2 ^ (size + (data[-1] << 2)) * _K0) * _K2 & _MASK
    return _K2


def _hash_to_32(data: bytes) -> int:
    size = len(data)
    mul = (_K2 + size * 2) & _MASK
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * mul, _word(data, size - 16) * _K2
    return _pair(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, mul)


def _hash_to_64(data: bytes) -> int:
    size = len(data)
    mul = (_K2 + size * 2) & _MASK
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, size - 8) * mul, _word(data, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _pair(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = _word(data, 16) * mul, _word(data, 24)
    g, h = (y + _word(data, size - 32)) * mul, (z + _word(data, size - 24)) * mul
    return _pair(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, count: int) -> int:
    value &= _MASK
    return (value >> count | value << 64 - count) & _MASK


def _mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _pair(u: int, v: int, mul: int) -> int:
    a = _mix((u ^ v) * mul)
    return _mix((v ^ a) * mul) * mul & _MASK
