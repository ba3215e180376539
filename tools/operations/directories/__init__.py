"""Directories of checkpoints and their state file.

- `places.py`: the files in a directory on a disk or behind a URL.
- `unfinished.py`: saves whose parts were not merged.
- `inspection.py`: one checkpoint, and what is wrong with it.
- `inventory.py`: which checkpoints a directory contains.
- `checking.py`: whether they and the state file are complete and undamaged: `verify`.
- `changes.py`: changes of a directory, as data.
- `adding.py`, `removing.py`, `repairing.py`: plans of changes: which checkpoints are listed, and which are kept.
- `cleaning.py`: plans to remove the temporary files of killed saves.
- `managing.py`: carries out plans.
"""
