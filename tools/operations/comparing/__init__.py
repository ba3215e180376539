"""How two checkpoints differ.

- `checksums.py`: the checksum of a tensor's content, from the index alone if the index has it.
- `values.py`: how far the values of two tensors are apart.
- `sides.py`: the two sides: tensors with their types, shapes, names and checksums.
- `omissions.py`: what a checkpoint lacks because its kind has no place for it.
- `rewritten.py`: what recipes and a map would make of a checkpoint.
- `pairs.py`: which tensor of one checkpoint is compared with which of the other.
- `differences.py`: `diff`.
"""
