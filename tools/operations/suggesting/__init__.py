"""Rename maps from one checkpoint's names to another's.

- `rules.py`: few rules for many pairs of names.
- `suggestion.py`: `suggest`.
"""
