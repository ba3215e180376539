"""The messages inside checkpoints: pure values, no file is opened here.

- `paths.py`: object paths and checkpoint keys, escaping included.
- `nodes.py`: the objects of a graph, and their encoding.
- `graph.py`: `ObjectGraph`, the object graph as a value.
- `checkpoint.proto`, and the code generated from it: the wire schemas, in a protobuf package of our own.
"""
