"""Conversion of keys: bytes in files, text for users.

Bytes that are not UTF-8 become surrogate escapes, which are converted back to the same bytes.
"""

from __future__ import annotations

__all__ = ["decode_key", "encode_key"]


def decode_key(key: bytes) -> str:
    """A key as text."""
    return key.decode("utf-8", "surrogateescape")


def encode_key(key: str) -> bytes:
    """A key as the bytes in the file; empty, which is no tensor's key, for text that can't be encoded."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""
