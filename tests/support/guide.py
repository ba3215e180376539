"""What people use so far: the two functions of TensorFlow's guide to migrating checkpoints, in our words.

https://www.tensorflow.org/guide/migrate/migrating_checkpoints: load every tensor into a variable, and save those.
"""

from __future__ import annotations

from support.tensorflow import tf, tf1


def convert_tf1_to_tf2(source: str, destination: str) -> str:
    """Save all tensors as `Checkpoint(vars={name: variable})`; the prefix with the save counter."""
    reader = tf.train.load_checkpoint(source)
    variables = {name: tf.Variable(reader.get_tensor(name)) for name in reader.get_variable_to_dtype_map()}
    return tf.train.Checkpoint(vars=variables).save(destination)


def convert_tf2_to_tf1(source: str, destination: str) -> str:
    """Save what lies in `Checkpoint(var_list={name: variable})` by name.

    The names come out right unless they have a '.': "/" is restored from ".S", but not "." from "..".
    """
    reader = tf.train.load_checkpoint(source)
    variables = {}
    for key in reader.get_variable_to_dtype_map():
        if key.startswith("var_list/"):
            name = key.split("/")[1].replace(".S", "/")
            variables[name] = tf.Variable(reader.get_tensor(key))
    return tf1.train.Saver(var_list=variables).save(sess=None, save_path=destination)
