"""Directories of checkpoints and their state file.

- `unfinished.py`: saves whose parts were not merged.
- `inventory.py`: which checkpoints a directory contains.
- `checking.py`: whether they and the state file are whole: `verify`.
- `managing.py`: which of them are kept.
- `cleaning.py`: what killed saves left under temporary names.
"""
