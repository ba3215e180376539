"""Rename maps from one checkpoint's names to another's.

- `rules.py`: few rules for many pairs of names.
- `keras_files.py`: names for the tensors in files of Keras weights.
- `suggestion.py`: `suggest`.
"""
