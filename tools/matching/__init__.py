"""Finds which tensors of two checkpoints are the same: the only code that decides it.

- `items.py`: the items that are compared, and the pairs that are found.
- `values.py`: checksums of values, and whether they identify a tensor.
- `sides.py`: the variables of one checkpoint, with their names, paths and optimizers.
- `steps.py`: names and paths as words with numbers, and how reliable these are.
- `labels.py`: names and paths of two sides in one form, as far as their numbers agree.
- `words.py`: words of names, and leading scopes.
- `alignment.py`: the alignment of two sequences.
- `substitutions.py`: how names change, learned from pairs.
- `evidence.py`: the evidence of all names and paths for and against a pair of tensors.
- `deciding.py`: pairs of tensors, by proof, and by hints that nothing contradicts.
- `correspondence.py`: the keys of the same tensors in another checkpoint of one program.
- `placing.py`: which variable belongs in which place of a template.
"""
