"""Steps: the operations of recipes and of the commands of the same names, as frozen values.

- `step.py`: the base class of steps, what they need besides the draft, and checks of their arguments.
- `selecting.py`: `drop`, `extract`, `slim`.
- `naming.py`: `rename`.
- `casting.py`: `cast`.
- `contents.py`: `set`, `resize`.
- `shapes.py`: `transpose`, `reshape`, `split`, `concat`.
- `layout.py`: `partition`, `unpartition`, `reshard`, `compact`.
- `combining.py`: `merge`, `average`.
- `conversion.py`: `convert`.
- `recipe.py`: several steps in one pass, from a TOML file or keyword arguments: `rewrite`.

A new step is a class in one of these modules, with its name in `STEPS` of the last one. The command of its name only
declares the arguments that `from_arguments` reads.
"""
