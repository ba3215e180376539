"""The only place that touches files.

- `local.py`: random access to one file.
- `staging.py`: files of one output, which appear together or not at all.
"""
