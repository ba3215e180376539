"""Between name-based and object-based checkpoints, and into the structure of a program.

- `structures.py`: structure files.
- `fitting.py`: values of one checkpoint in the structure of another.
- `conversion.py`: `convert`.
"""
