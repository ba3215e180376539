"""The same jobs done with TensorFlow, as its users do them."""

from __future__ import annotations

import sys
import zlib

import tensorflow as tf
from shared import model_arrays, timed


def ls(prefix: str) -> None:
    """List a checkpoint."""
    for name, shape in tf.train.list_variables(prefix):
        print(name, shape)


def entries(small: str, prefix: str) -> None:
    """Open a checkpoint and list names, types and shapes."""

    def job(path: str) -> tuple[dict[str, list[int]], dict[str, tf.DType]]:
        reader = tf.train.load_checkpoint(path)
        return reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()

    job(small)
    shapes, _ = timed(lambda: job(prefix))
    print(len(shapes))


def one(small: str, prefix: str, key: str) -> None:
    """Open a checkpoint and read one tensor."""

    def job(path: str, key: str) -> object:
        return tf.train.load_checkpoint(path).get_tensor(key)

    job(small, next(iter(tf.train.load_checkpoint(small).get_variable_to_shape_map())))
    value = timed(lambda: job(prefix, key))
    print(zlib.crc32(value.tobytes()))


def to_tf2(source: str, destination: str) -> None:
    """What the guide "Migrating model checkpoints" does: every tensor becomes a variable, and all are saved."""
    reader = tf.train.load_checkpoint(source)
    variables = {name: tf.Variable(reader.get_tensor(name)) for name in reader.get_variable_to_dtype_map()}
    tf.train.Checkpoint(vars=variables).save(destination)


def to_tf1(source: str, destination: str) -> None:
    """The way back from the same guide: what lies under `var_list` is saved by name."""
    reader = tf.train.load_checkpoint(source)
    variables = {}
    for key in reader.get_variable_to_dtype_map():
        scope, _, rest = key.partition("/")
        if scope == "var_list":
            name = rest.partition("/")[0].replace(".S", "/")
            variables[name] = tf.Variable(reader.get_tensor(key))
    tf.compat.v1.train.Saver(var_list=variables).save(sess=None, save_path=destination)


def cast(source: str, destination: str, dtype: str) -> None:
    """Every tensor read, cast and saved under its name."""
    reader = tf.train.load_checkpoint(source)
    names = list(reader.get_variable_to_dtype_map())
    values = [tf.cast(reader.get_tensor(name), dtype) for name in names]
    tf.raw_ops.SaveV2(
        prefix=destination, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )


def rename(source: str, destination: str, scope: str) -> None:
    """Every tensor read and saved below a scope."""
    reader = tf.train.load_checkpoint(source)
    names = list(reader.get_variable_to_dtype_map())
    tf.raw_ops.SaveV2(
        prefix=destination,
        tensor_names=[scope + name for name in names],
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(reader.get_tensor(name)) for name in names],
    )


def save(small: str, prefix: str, nbytes: str, tensors: str) -> None:
    """Write arrays with the operation that all of TensorFlow's savers use."""

    def job(path: str, arrays: dict[str, object]) -> None:
        values = [tf.convert_to_tensor(each) for each in arrays.values()]
        tf.raw_ops.SaveV2(
            prefix=path, tensor_names=list(arrays), shape_and_slices=[""] * len(arrays), tensors=values
        )

    job(small, model_arrays(1 << 14, 5))
    arrays = model_arrays(int(nbytes), int(tensors))
    timed(lambda: job(prefix, arrays), given=sum(each.nbytes for each in arrays.values()), scratch=small)


if __name__ == "__main__":
    jobs = {
        "ls": ls,
        "entries": entries,
        "one": one,
        "to-tf2": to_tf2,
        "to-tf1": to_tf1,
        "cast": cast,
        "rename": rename,
        "save": save,
    }
    jobs[sys.argv[1]](*sys.argv[2:])
