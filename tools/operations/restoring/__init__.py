"""What `Checkpoint.restore` of one checkpoint would do to the program that wrote another, and what to do about it.

- `programs.py`: the objects of a program.
- `outcomes.py`: the result, as data.
- `restoring.py`, `restoring_by_name.py`: TensorFlow's two ways to restore.
- `forecasting.py`: the forecast.
- `advice.py`: causes and advice, as data.
- `moves.py`, `trials.py`, `causes.py`: why objects do not match, and commands that mend it.
"""
