"""Which tensor of one checkpoint is which of another.

- `sides.py`: the variables of one checkpoint, with their names, paths and optimizers.
- `placing.py`: which variable belongs in which place of a template.
- `pairing.py`: pairs of tensors, by values, names, shapes and order.
"""
