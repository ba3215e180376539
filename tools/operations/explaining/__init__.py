"""What error messages mean, and what most likely caused a fault.

- `catalogue.py`: the causes and the messages, as data: `verify` and `explain` print texts from it.
- `explanation.py`: `explain`.
"""
