"""Tensors in files that are not TensorFlow checkpoints.

- `safetensors.py`: the header of a safetensors file, and the index of a sharded one.
"""
