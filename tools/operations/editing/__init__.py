"""Change the names, values, layout or set of tensors of a draft.

- `selection.py`: `drop`, `extract`, `slim`.
- `values.py`: `set`.
- `casting.py`: `cast`.
- `layout.py`: `partition`, `unpartition`, `reshard`, `compact`, `reshape`, `transpose`.
- `renaming.py`: rules for names, and `rename`.
- `combining.py`: `merge`, `average`.
- `vocabulary.py`: `resize`.
"""
