"""Change the names, values, layout or set of tensors of a draft.

- `selection.py`: `drop`, `extract`, `slim`.
- `values.py`: `set`.
- `casting.py`: `cast`.
- `layout.py`: `partition`, `unpartition`, `reshard`, `compact`.
- `shapes.py`: `reshape`, `transpose`, `split`, `concat`.
- `rules.py`: rules for names, and maps.
- `renaming.py`: `rename`.
- `combining.py`: `merge`, `average`.
- `vocabulary.py`: `resize`.
"""
