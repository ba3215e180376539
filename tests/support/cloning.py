"""A file system whose files share ranges of blocks, as far as `ioctl` shows it: the bytes are copied."""

import errno
import fcntl
import os
import struct

FICLONERANGE = 0x4020940D
BLOCK = 4096


def clone_ranges(monkeypatch):
    """Let `ioctl` clone ranges of whole blocks; the ranges that were cloned."""
    cloned = []

    def ioctl(descriptor, request, argument):
        if request != FICLONERANGE:
            raise OSError(errno.EOPNOTSUPP, "no such request")
        source, offset, size, destination = struct.unpack("qQQQ", argument)
        if offset % BLOCK or size % BLOCK or destination % BLOCK:
            raise OSError(errno.EINVAL, "not at the ends of blocks")
        os.pwrite(descriptor, os.pread(source, size, offset), destination)
        cloned.append((offset, size, destination))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return cloned
