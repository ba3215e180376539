"""Which tensor of one checkpoint is which of another.

- `pairing.py`: pairs of tensors, by values, names, shapes and order.
"""
