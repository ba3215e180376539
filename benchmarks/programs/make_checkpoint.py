"""Makes a checkpoint of seeded random values, in bounded memory.

make_checkpoint.py name-based|object-based PREFIX --size BYTES --tensors N     like a model
make_checkpoint.py many PREFIX --tensors N                                     all index
make_checkpoint.py adam|embedding|single PREFIX --size BYTES                   a model with optimizer; a table; one tensor
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from shared import adam_shapes, embedding_shapes, many_shapes, model_shapes, random_chunks

import tensorbundle as tb
from tensorbundle.proto.paths import SAVE_COUNTER, attribute_key

SHAPES = {  # of the size and number of tensors
    "name-based": model_shapes,
    "many": lambda size, tensors: many_shapes(tensors),
    "adam": lambda size, tensors: adam_shapes(size),
    "embedding": lambda size, tensors: embedding_shapes(size),
    "single": lambda size, tensors: {"weights": (max(1, size // 4),)},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=(*SHAPES, "object-based"))
    parser.add_argument("prefix")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--tensors", type=int, default=0)
    args = parser.parse_args()
    shapes = SHAPES.get(args.kind, model_shapes)(args.size, args.tensors)
    random = np.random.default_rng(20_000)
    with tb.create(args.prefix) as writer:
        keys = {name: name for name in shapes}
        if args.kind == "object-based":
            # Under the name that the migration guide's function looks for.
            graph = tb.ObjectGraph.from_names(shapes, root="var_list")
            keys = {each.full_name: each.checkpoint_key for _, _, each in graph.attributes()}
        for name, shape in shapes.items():
            writer.add_chunks(keys[name], "float32", shape, random_chunks(4 * math.prod(shape), random))
        if args.kind == "object-based":
            writer.add(attribute_key(SAVE_COUNTER), np.int64(1))
            writer.add_object_graph(graph)


if __name__ == "__main__":
    main()
