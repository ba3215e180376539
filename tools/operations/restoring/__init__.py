"""Predicts what `Checkpoint.restore` of one checkpoint does to the program that wrote another, with advice.

- `programs.py`: the objects of a program.
- `outcomes.py`: the result, as data.
- `restoring.py`, `restoring_by_name.py`: TensorFlow's two ways to restore.
- `keras_loading.py`: `load_weights` of Keras 3.
- `forecasting.py`: the forecast.
- `advice.py`: causes and advice, as data.
- `keras_causes.py`: why a file does not load into Keras 3.
- `moves.py`, `trials.py`, `causes.py`: why objects do not match, and commands that correct this.
"""
