"""The messages inside checkpoints: pure values, no file is opened here.

- `checkpoint_pb2.py`: generated from `checkpoint.proto`, the wire schemas, in a protobuf package of our own.
- `paths.py`: object paths and checkpoint keys, escaping included.
- `nodes.py`: the objects of a graph, and their encoding.
- `reach.py`: the reachable objects, in the order of their numbers, with their paths.
- `moving.py`: moving objects to other paths.
- `graph.py`: `ObjectGraph`, the object graph as a value.
- `naming.py`: `Naming`, the names by which users refer to a tensor.
"""
