"""What optimizers call their state, by name and in object graphs: the only place that knows.

- `slots.py`: slot variables of each class of optimizer, for templates.
"""
