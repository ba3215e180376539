"""Which tensor of one checkpoint is which of another: the only place that decides it.

- `items.py`: what is compared, and what is found.
- `values.py`: what checksums tell of values.
- `sides.py`: the variables of one checkpoint, with their names, paths and optimizers.
- `labels.py`: names and paths of two sides in one form, and how far numbers can be trusted.
- `words.py`: words of names, and scopes in front of them.
- `alignment.py`: sequences side by side.
- `substitutions.py`: how names change, learned from pairs.
- `evidence.py`: what all names and paths of two sides say of a pair of tensors.
- `deciding.py`: pairs of tensors, by proof, and by hints that nothing contradicts.
- `correspondence.py`: where another checkpoint of one program has the same tensors.
- `placing.py`: which variable belongs in which place of a template.
"""
