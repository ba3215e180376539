"""Rename maps from one checkpoint's names to another's.

- `substitutions.py`: few rules for many pairs of names.
- `suggestion.py`: `suggest`.
"""
