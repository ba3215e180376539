"""How two checkpoints differ.

- `checksums.py`: the checksum of a tensor's content, from the index alone if the index has it.
- `values.py`: how far the values of two tensors are apart.
- `pairs.py`: which tensor of one checkpoint is compared with which of the other.
- `differences.py`: `diff`.
"""
