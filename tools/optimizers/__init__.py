"""The state of optimizers, by names of variables and in object graphs: the only code that knows its names.

- `table.py`: the names of slots, scalars and lists of each class of each generation, and the roles that they mean.
- `optimizer.py`: `Optimizer`, the state of one optimizer of any generation.
- `nodes.py`: which objects of a graph are optimizers, and which optimizers they wrap.
- `ends.py`: which of many names others end with, part by part.
- `naming.py`: optimizers found by names of variables.
- `lists.py`: which variable a slot in a list belongs to.
- `graphs.py`: optimizers in an object graph.
- `ordering.py`: the order of an optimizer's variables in Keras 3 and its weights files.
- `finding.py`: `Optimizers`, all optimizers of a checkpoint, for `slim`, templates, `info` and others.
- `following.py`: the slots that change with the shape of a variable.
- `making.py`: slots for legacy optimizers that have none yet.
- `classes.py`: names of the classes of optimizers, for people.
"""
