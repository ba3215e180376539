"""What is in one checkpoint, and whether it is whole.

- `listing.py`: the tensors of an index: `ls`.
- `completing.py`: names that begin with a text, for the completion of a shell.
- `showing.py`: the values of tensors: `show`.
- `scopes.py`: tensors by scope: `tree`.
- `passes.py`: one streamed pass over the values of many tensors.
- `statistics.py`: statistics of tensors' values: `stats`.
- `histograms.py`: histograms of values in one pass.
- `hashing.py`: content hashes: `hash`, and how they differ from a manifest's.
- `hints.py`: which class each object of a graph most likely has.
- `graph_view.py`: an object graph as it is shown: `graph`.
- `layout.py`: which bytes of data shards are referred to, by none or by several.
- `overview.py`: the whole in one screen: `info`.
- `problems.py`: what `verify` finds, as data.
- `blocks.py`: finds the blocks of an index whose end is lost.
- `damage.py`: what damaged bytes tell of how they were damaged.
- `fingerprint.py`: whether a SavedModel's variables are those that it was saved with.
- `verification.py`: `verify`.
- `timing.py`: how long jobs take, here and beside others: `bench`.
"""
