"""What optimizers call their state, by name and in object graphs: the only place that knows.

- `table.py`: the names of slots, scalars and lists of each class of each generation, and the roles that they mean.
- `optimizer.py`: `Optimizer`, what one keeps, of whichever generation.
- `nodes.py`: which objects of a graph are optimizers, and what they wrap.
- `naming.py`: optimizers that names tell of.
- `lists.py`: which variable a slot in a list belongs to.
- `graphs.py`: optimizers in an object graph.
- `ordering.py`: the order of an optimizer's variables in Keras 3 and its weights files.
- `finding.py`: `Optimizers`, all of a checkpoint: `slim`, templates, `info` and others ask it.
- `following.py`: the slots that change where a variable changes its shape.
- `making.py`: slots for legacy optimizers that have none yet.
- `classes.py`: what the classes of optimizers are called, for people.
"""
