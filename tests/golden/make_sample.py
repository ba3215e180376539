"""Train the sample checkpoint of this folder: real weights, with everything that training leaves.

    python make_sample.py OUT

A wide and deep classifier (TensorFlow 2.15, the last with Estimator) learns scikit-learn's breast
cancer data, 569 tumours with 30 measurements each. The wide part sees two of the measurements in
buckets and is trained with Ftrl. The deep part sees all of them, and an embedding of the hashed
pair of buckets, and is trained with Adam. The embedding is partitioned in two, and so are its Adam
slots.

OUT gets the last checkpoint and its state file. The same versions write the same bytes every time.
"""

import argparse
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as tf1
from sklearn.datasets import load_breast_cancer

STEPS: Final = 300
BATCH: Final = 64
BUCKETS: Final = 8
WIDE_FEATURES: Final = ("mean_radius", "mean_texture")
PARTITION_BYTES: Final = 1024  # an input variable of twice this is cut in two


def bucket_edges(values: Any) -> Any:
    """The inner edges of `BUCKETS` buckets that share the values evenly."""
    return np.quantile(values, np.linspace(0, 1, BUCKETS + 1)[1:-1]).round(3)


def load_examples() -> tuple[dict[str, Any], Any]:
    """The features by name, and the labels.

    The measurements are scaled to mean 0 and deviation 1. One feature is added: `profile`, the
    buckets of radius and texture as a word, such as b"r3t5".
    """
    data = load_breast_cancer()
    scaled = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0)).astype("<f4")
    names = [name.replace(" ", "_") for name in data.feature_names]
    features = dict(zip(names, scaled.T, strict=True))
    radius, texture = (np.digitize(features[name], bucket_edges(features[name])) for name in WIDE_FEATURES)
    words = [f"r{r}t{t}".encode() for r, t in zip(radius, texture, strict=True)]
    return features | {"profile": np.array(words)}, data.target.astype("<i4")


def make_estimator(model_dir: str, features: dict[str, Any]) -> Any:
    """The untrained classifier."""
    column = tf.feature_column
    numbers = [column.numeric_column(name) for name in features if name != "profile"]
    wide = [
        column.bucketized_column(number, bucket_edges(features[number.key]).tolist())
        for number in numbers
        if number.key in WIDE_FEATURES
    ]
    profile = column.categorical_column_with_hash_bucket("profile", hash_bucket_size=64)
    return tf1.estimator.DNNLinearCombinedClassifier(
        model_dir=model_dir,
        linear_feature_columns=wide,
        linear_optimizer=tf1.train.FtrlOptimizer(0.05),
        dnn_feature_columns=[*numbers, column.embedding_column(profile, dimension=8)],
        dnn_optimizer=tf1.train.AdamOptimizer(0.001),
        dnn_hidden_units=[32, 16],
        input_layer_partitioner=tf1.min_max_variable_partitioner(
            max_partitions=2, min_slice_size=PARTITION_BYTES
        ),
        config=tf.estimator.RunConfig(
            tf_random_seed=1,
            keep_checkpoint_max=1,
            save_summary_steps=STEPS,
            session_config=tf1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1),
        ),
    )


def train(model_dir: str) -> None:
    """Fill `model_dir`, a relative path; print the loss over all examples as training goes."""
    features, labels = load_examples()
    estimator = make_estimator(model_dir, features)

    def batches(*, shuffle: bool) -> Callable[[], Any]:
        def examples() -> Any:
            dataset = tf.data.Dataset.from_tensor_slices((features, labels))
            if shuffle:
                dataset = dataset.shuffle(len(labels), seed=1).repeat()
            return dataset.batch(BATCH)

        return examples

    for step in (1, STEPS):
        estimator.train(batches(shuffle=True), max_steps=step)
        result = estimator.evaluate(batches(shuffle=False))
        print(f"step {step}: loss {result['average_loss']:.4f}, accuracy {result['accuracy']:.4f}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the sample checkpoint.")
    parser.add_argument("out", type=Path, help="folder to write; an older checkpoint goes")
    out: Path = parser.parse_args(argv).out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("model.ckpt-*"):
        path.unlink()
    tf.get_logger().setLevel("ERROR")
    with TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        train("sample")
        for path in Path("sample").iterdir():
            if path.name == "checkpoint" or path.suffix == ".index" or ".data-" in path.name:
                shutil.copyfile(path, out / path.name)


if __name__ == "__main__":
    main()
