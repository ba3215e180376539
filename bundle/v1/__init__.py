"""The V1 format, from before TensorFlow 0.12, behind the same `Index` as the tensor bundle.

- `saved_slices.py`: the messages in a V1 file, and the encoding of values.
- `index.py`: `V1Index`, which reads V1 files, and `write_v1`.
"""
