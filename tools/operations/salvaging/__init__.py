"""Saves the intact tensors of a damaged checkpoint.

- `finding.py`: entries of tensors, from the remains of an index, and the data that proves them.
- `tables.py`: tables of V1 checkpoints, also without their ends.
- `saving.py`: `salvage`.
"""
