"""Between name-based and object-based checkpoints, and into the structure of a program.

- `structures.py`: structure files.
- `fitting.py`: how strict that is, and the errors for what is missing or left over.
- `structure_fitting.py`: values in the objects of a structure file.
- `optimizer_state.py`: slots and numbers of steps in a template.
- `template.py`: values of one checkpoint in the structure of another.
- `conversion.py`: `convert`.
- `keras_optimizer.py`: optimizer state in Keras weights files.
- `keras_weights.py`: Keras weights files out of checkpoints, and back.
- `other_formats.py`: what the ending of an output's name asks for.
"""
