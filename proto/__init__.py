"""The messages inside checkpoints: pure values, no file is opened here.

- `checkpoint_pb2.py`: generated from `checkpoint.proto`, the wire schemas, in a protobuf package of our own.
- `paths.py`: object paths and checkpoint keys, escaping included.
- `nodes.py`: the objects of a graph, and their encoding.
- `reach.py`: which objects count, in which order, and their paths.
- `moving.py`: other paths for objects.
- `graph.py`: `ObjectGraph`, the object graph as a value.
- `naming.py`: `Naming`, what a person calls a tensor.
"""
