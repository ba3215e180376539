"""Steps: the operations of recipes and of the commands of the same names, as frozen values. Lowest first.

- `step.py`: what a step is, what it needs besides the draft, and checks of the values that it is given.
- `selecting.py`: `drop`, `extract`, `slim`.
- `naming.py`: `rename`.
- `casting.py`: `cast`.
- `contents.py`: `set`, `resize`.
- `shapes.py`: `transpose`, `reshape`, `split`, `concat`.
- `layout.py`: `partition`, `unpartition`, `reshard`, `compact`.
- `combining.py`: `merge`, `average`.
- `conversion.py`: `convert`.
- `recipe.py`: several in one pass, from a TOML file or keyword arguments: `rewrite`.

A new step is a class in one of these, with its name in `STEPS` of the last. The command of its name only declares the
arguments that `from_arguments` reads.
"""
