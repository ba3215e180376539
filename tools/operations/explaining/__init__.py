"""What error messages mean, and what most likely caused a fault or a mismatch.

- `cause.py`: a cause, as data.
- `file_causes.py`: causes of faults in files.
- `restore_causes.py`: causes of restores that fail or do not match.
- `catalogue.py`: all of them by kind; `verify`, `check` and `explain` print texts from it.
- `messages.py`: messages of TensorFlow and Keras, as data.
- `explanation.py`: `explain`.
"""
