"""What is in one checkpoint, and whether it is whole.

- `statistics.py`: statistics of a tensor's values.
- `hints.py`: which class each object of a graph most likely has.
- `verification.py`: `verify`.
"""
