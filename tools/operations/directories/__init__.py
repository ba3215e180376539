"""Directories of checkpoints and their state file.

- `inventory.py`: which checkpoints a directory contains.
- `managing.py`: which of them are kept.
"""
