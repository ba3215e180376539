"""Rename maps from one checkpoint's names to another's.

- `named.py`: the tensors of a checkpoint by the names that a map may give them.
- `rules.py`: few rules for many pairs of names.
- `keras_files.py`: names for the tensors in files of Keras weights.
- `suggestion.py`: `suggest`.
"""
