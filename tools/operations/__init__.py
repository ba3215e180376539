"""Operations on whole checkpoints, one folder for each kind of question; lowest first.

- `editing/`: change the names, values, layout or set of tensors.
- `explaining/`: what error messages mean, and the catalogue of causes.
- `inspecting/`: what is in one checkpoint, and whether it is whole.
- `salvaging/`: what can still be saved of a damaged checkpoint.
- `converting/`: between name-based and object-based, and into the structure of a program.
- `sizes.py`: sizes in bytes as people write them.
- `steps/`: rewriting operations as values, each from a recipe or from a command line; several in one pass.
- `comparing/`: how two checkpoints differ.
- `directories/`: which checkpoints a directory contains, and which of them are kept.
- `restoring/`: what a restore would do, and why it fails.
- `reporting/`: an HTML page to look at: `report`.
- `suggesting/`: rename maps from one checkpoint's names to another's.
- `functions.py`: rewriting operations as functions under the names of the commands.

Operations that rewrite change a `Draft` and read no tensor; those that inspect return data. None prints.
"""
