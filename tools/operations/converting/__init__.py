"""Convert between name-based and object-based checkpoints, and into the structure of a program.

- `structures.py`: structure files.
- `fitting.py`: how strict a conversion is, and the errors for missing and unused tensors.
- `structure_fitting.py`: puts values into the objects of a structure file.
- `optimizer_state.py`: slots and numbers of steps in a template.
- `template.py`: puts values of one checkpoint into the structure of another.
- `conversion.py`: `convert`.
- `keras_optimizer.py`: optimizer state in Keras weights files.
- `keras_weights.py`: Keras weights files from checkpoints, and checkpoints from these files.
- `keras_pairs.py`: which tensor of such a file is which of a checkpoint.
- `other_formats.py`: the output format that the ending of its name selects.
"""
