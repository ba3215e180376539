"""Directories of checkpoints and their state file.

- `places.py`: the files in a directory on a disk or behind a URL.
- `unfinished.py`: saves whose parts were not merged.
- `inventory.py`: which checkpoints a directory contains.
- `checking.py`: whether they and the state file are complete and undamaged: `verify`.
- `managing.py`: which of them are kept.
- `cleaning.py`: temporary files of killed saves.
"""
