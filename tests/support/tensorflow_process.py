"""TensorFlow in a process of its own, for files that it dies of.

`TensorFlowProcess` starts this file as a script. The script imports TensorFlow and then forks: the child answers, and
when it dies, the next one is there in no time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from support.contents import Tensor

TIME_LIMIT = 60  # seconds for one answer
MEMORY_LIMIT = 4 << 30  # bytes more than TensorFlow has when it starts; a file may claim any size


class TensorFlowProcess:
    """Reads as TensorFlow does. Each answer is ("value", what was read), ("error", class, message) or ("died", signal)."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", __file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **pipes)
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)

    def restore(self, prefix: str, key: bytes, dtype: str, spec: str = "") -> tuple[Any, ...]:
        """What RestoreV2 reads."""
        return self._ask("restore", prefix, key, dtype, spec)

    def listing(self, prefix: str) -> tuple[Any, ...]:
        """What TensorFlow's reader of checkpoints lists: name to data type and shape."""
        return self._ask("listing", prefix)

    def _ask(self, *request: Any) -> tuple[Any, ...]:
        self._requests.send(request)
        return self._answers.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._answers.close()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what TensorFlow prints is no answer
    import tensorflow  # noqa: F401  for the children

    _limit_memory()
    while True:
        child = os.fork()
        if child == 0:
            _serve(requests, answers)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        answers.send(("died", signal.Signals(os.WTERMSIG(status)).name))


def _limit_memory() -> None:
    """Let a claim of more fail at once; only Linux tells how much there is already."""
    import resource

    if not sys.platform.startswith("linux"):
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT,) * 2)


def _serve(requests: Connection, answers: Connection) -> NoReturn:
    read = {"restore": _restore, "listing": _listing}
    while True:
        try:
            kind, *arguments = requests.recv()
        except EOFError:
            os._exit(0)
        signal.alarm(TIME_LIMIT)
        try:
            answer = ("value", read[kind](*arguments))
        except Exception as error:
            answer = ("error", type(error).__name__, str(error))
        answers.send(answer)


def _restore(prefix: str, key: bytes, dtype: str, spec: str) -> Tensor:
    import numpy as np
    import tensorflow as tf

    [value] = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[key], shape_and_slices=[spec], dtypes=[tf.as_dtype(dtype)]
    )
    if value.dtype == tf.variant:
        return "variant", tuple(value.shape), b""
    array = value.numpy()
    if not isinstance(array, np.ndarray | np.generic):
        array = np.array(array, object)
    content = array.ravel().tolist() if array.dtype == np.dtype(object) else array.tobytes()
    return value.dtype.name, tuple(value.shape), content


def _listing(prefix: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    import tensorflow as tf

    reader = tf.compat.v1.train.NewCheckpointReader(prefix)
    shapes = reader.get_variable_to_shape_map()
    return {
        key: (dtype.name, tuple(shapes[key])) for key, dtype in reader.get_variable_to_dtype_map().items()
    }


if __name__ == "__main__":
    main()
