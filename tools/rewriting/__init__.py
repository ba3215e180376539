"""The engine that makes checkpoints: a draft becomes a plan, and the plan is carried out.

- `streaming.py`, `reading.py`: byte ranges and boxes of stored tensors, read and checked.
- `expressions.py`: how the values of an output tensor are computed from stored ones.
- `plan.py`: plans, which are data: where the bytes of each output tensor come from.
- `draft.py`: `Draft`, the checkpoint to be written, as operations edit it.
- `v1_output.py`, `transfer.py`: carry out a plan.
"""
