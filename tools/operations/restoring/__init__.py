"""Predicts what `Checkpoint.restore` of one checkpoint does to the program that wrote another, with advice.

- `programs.py`: the objects of a program.
- `outcomes.py`: the result, as data.
- `restoring.py`, `restoring_by_name.py`: TensorFlow's two ways to restore.
- `keras_loading.py`: `load_weights` of Keras 3.
- `forecasting.py`: the forecast.
- `advice.py`: causes and advice, as data.
- `pairing.py`: which variables are the same.
- `trials.py`: what commands would do.
- `restructuring.py`: whether `convert --template` helps.
- `keras_causes.py`: why a file does not load into Keras 3.
- `moves.py`, `move_search.py`: other names under which objects match.
- `value_causes.py`: why tensors differ in type or shape.
- `causes.py`: why a checkpoint does not match.
"""
