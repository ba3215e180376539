"""The V1 format, used before TensorFlow 0.12, with the same `Index` interface as the tensor bundle.

- `saved_slices.py`: the messages in a V1 file, and the encoding of values.
- `index.py`: `V1Index`, which reads V1 files, and `write_v1`.
"""
