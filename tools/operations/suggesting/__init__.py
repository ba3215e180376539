"""Rename maps from one checkpoint's names to another's.

- `rules.py`: few rules for many pairs of names.
- `keras_files.py`: files of Keras weights on one side.
- `suggestion.py`: `suggest`.
"""
