"""The engine that makes checkpoints: a draft becomes a plan, and the plan is carried out.

- `options.py`: options for writing an output, and counts of what was done.
- `ranges.py`: byte ranges of files, read in long runs and checked.
- `repetition.py`: a limit on how often the same bytes are read for different tensors.
- `ordered.py`: work that several threads do, with its results in order.
- `reading.py`: boxes of values of stored tensors, read and checked.
- `rounding.py`: numbers of one data type as those of another.
- `expressions.py`: how the values of an output tensor are computed from stored ones.
- `rearranging.py`: the same for values that only get other places.
- `pieces.py`: pieces of what is moved, for several threads or machines.
- `checking.py`: the checksums of many ranges, checked by several threads.
- `plan.py`: plans: where the bytes of each tensor come from; and `Output`, the seam to formats.
- `planning.py`: from expressions to the entries of a plan.
- `appending.py`: the bytes of a plan's entries, appended to a file.
- `resuming.py`: data shards that an interrupted run completed.
- `multipart.py`: one large data shard, written by several tasks as parts of one upload.
- `aliasing.py`: bytes that several tensors have in common, appended once.
- `bundle_output.py`, `v1_output.py`: the outputs in the formats of TensorFlow.
- `cluster.py`: a cluster of Dask as an executor.
- `draft.py`: `Draft`, the checkpoint to be written, as operations edit it.
- `draft_index.py`: a draft as an index, to be read without being written.
- `transfer.py`: checks a plan's sources and lets its output write it.
"""
