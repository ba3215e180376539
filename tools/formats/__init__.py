"""Tensors in files that are not TensorFlow checkpoints.

- `zips.py`, `npy.py`: zip archives, and the header of an array file; together the format of `.npz` files.
- `safetensors.py`: the header of a safetensors file, and the index of a sharded one.
"""
