"""Makes a checkpoint of seeded random values, in bounded memory.

make_checkpoint.py name-based|object-based PREFIX --size BYTES --tensors N     like a model
make_checkpoint.py many PREFIX --tensors N                                     all index
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from shared import many_shapes, model_shapes, random_chunks

import tensorbundle as tb
from tensorbundle.proto.paths import SAVE_COUNTER, attribute_key


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("name-based", "object-based", "many"))
    parser.add_argument("prefix")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--tensors", type=int, required=True)
    args = parser.parse_args()
    shapes = many_shapes(args.tensors) if args.kind == "many" else model_shapes(args.size, args.tensors)
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
