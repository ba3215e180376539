"""TensorFlow, quiet, and what the interoperability tests do with it.

A module that imports from here is skipped where there is no TensorFlow, and fails if TENSORBUNDLE_REQUIRE_TENSORFLOW
is set.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.contents import as_array, content
from tensorbundle.dtypes import DType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.contents import Tensor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    if os.environ.get("TENSORBUNDLE_REQUIRE_TENSORFLOW"):
        import tensorflow as tf
    else:
        tf = pytest.importorskip("tensorflow", reason="these tests compare with TensorFlow")
    from tensorflow.compat import v1 as tf1
    from tensorflow.core.framework import types_pb2  # noqa: F401  for others, as are the next ones
    from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2  # noqa: F401
    from tensorflow.python.checkpoint import util as checkpoint_util  # noqa: F401
    from tensorflow.python.distribute.sharded_variable import ShardedVariable  # noqa: F401
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable  # noqa: F401
    from tensorflow.python.trackable import trackable_utils  # noqa: F401

tf.get_logger().setLevel("ERROR")
VERSION = tuple(map(int, tf.__version__.split(".")[:2]))


def _known(dtype: DType) -> bool:
    try:
        dtype.numpy  # noqa: B018  ml_dtypes may be too old
        tf.as_dtype(dtype.value)
    except (NotImplementedError, TypeError):
        return False
    return bool(dtype.itemsize)


NUMERIC = [dtype for dtype in DType if _known(dtype)]  # what this TensorFlow and this ml_dtypes know
QUANTISED = [dtype for dtype in NUMERIC if dtype.startswith(("qint", "quint"))]
PLAIN = [dtype for dtype in NUMERIC if dtype not in QUANTISED]
NOT_JOINED = {
    "float16",
    "uint16",
    "uint32",
    "uint64",
    "qint16",
    "quint16",
    "int2",
    "uint2",
    "float4_e2m1fn",
    "string",
}


def joined_by_tensorflow(dtype: DType) -> bool:
    """Whether TensorFlow puts slices of this type together."""
    return dtype not in NOT_JOINED and not dtype.startswith("float8")


def tensor(array: np.ndarray, dtype: str | None = None) -> Any:
    """An eager tensor with the bits of `array`, of a quantised type if `dtype` says so."""
    if dtype is not None and dtype in QUANTISED:
        return tf.bitcast(array, dtype)
    return tf.constant(array, dtype)


def evaluated(value: Any) -> np.ndarray:
    """The array in an eager tensor or variable; scalar strings keep the zero bytes at their end."""
    array = value.numpy()
    return array if isinstance(array, np.ndarray | np.generic) else np.array(array, object)


def described(value: Any) -> Tensor:
    """An eager tensor or variable: data type, shape and content."""
    return value.dtype.name, tuple(value.shape), content(np.asarray(evaluated(value)))


def save_raw(prefix: Any, *saved: tuple[str | bytes, str, Any]) -> None:
    """Run SaveV2 on (key, shape and slice, tensor) triples."""
    keys, specs, values = zip(*saved, strict=True)
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=keys, shape_and_slices=specs, tensors=values)


def restore_raw(prefix: Any, key: str, dtype: str, spec: str = "") -> Tensor:
    """Run RestoreV2 on one tensor, or a slice of it."""
    [value] = tf.raw_ops.RestoreV2(
        prefix=str(prefix), tensor_names=[key], shape_and_slices=[spec], dtypes=[tf.as_dtype(dtype)]
    )
    return described(value)


def their_reading(prefix: Any) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, as TensorFlow's reader and its restore op both read it."""
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    found = {}
    for key, dtype in reader.get_variable_to_dtype_map().items():
        restored = restore_raw(prefix, key, dtype.name)
        value = reader.get_tensor(key)
        array = np.asarray(value) if not isinstance(value, bytes) else np.array(value, object)
        assert restored == (dtype.name, tuple(shapes[key]), content(array))
        found[key] = restored
    return found


def other_values(found: Tensor, name: str | None = None) -> Any:
    """A variable of the same type and shape, no element of which is the same."""
    dtype, shape, old = found
    new = bytes(byte ^ 1 for byte in old) if isinstance(old, bytes) else [each + b"?" for each in old]
    return tf.Variable(tensor(as_array((dtype, shape, new)), dtype), name=name)


def below(root: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What `tf.train.Checkpoint` takes to have the variables in a dictionary at the path `root`."""
    nested = dict(variables)
    for name in reversed(root.split("/") if root else []):
        nested = {name: nested}
    return nested


def restore_by_name(prefix: Any, expected: Mapping[str, Tensor]) -> None:
    """Restore variables by their names with a v1 `Saver`, and compare."""
    variables = {name: other_values(found) for name, found in expected.items()}
    tf1.train.Saver(var_list=variables).restore(sess=None, save_path=str(prefix))
    assert {name: described(value) for name, value in variables.items()} == dict(expected)


def in_session(build: Callable[[], Any], use: Callable[[Any, Any], Any]) -> Any:
    """Build variables in a graph of their own, initialise them on two CPUs, and use them: `use(session, built)`."""
    with tf.Graph().as_default():
        tf1.set_random_seed(1)
        built = build()
        with tf1.Session(config=tf1.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(tf1.global_variables_initializer())
            return use(session, built)
