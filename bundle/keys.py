"""Keys: bytes in the file, text for users.

Bytes that are not UTF-8 become surrogate escapes, and come back as they were.
"""

from __future__ import annotations

__all__ = ["decode_key", "encode_key"]


def decode_key(key: bytes) -> str:
    """A key as text."""
    return key.decode("utf-8", "surrogateescape")


def encode_key(key: str) -> bytes:
    """A key as the bytes in the file; empty, as no tensor's key is, for text that no file can have."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""
