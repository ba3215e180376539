"""What can still be saved of a damaged checkpoint.

- `finding.py`: entries of tensors, from whatever is left of an index, and the data that proves them.
- `saving.py`: `salvage`.
"""
