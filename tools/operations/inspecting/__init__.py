"""Shows what one checkpoint contains, and checks whether it is complete and undamaged.

- `listing.py`: the tensors of an index: `ls`.
- `completing.py`: names that begin with a text, for the completion of a shell.
- `passes.py`: one streamed pass over the values of many tensors.
- `showing.py`: the values of tensors: `show`.
- `scopes.py`: tensors by scope: `tree`.
- `statistics.py`: statistics of tensors' values: `stats`.
- `histograms.py`: histograms of values in one pass.
- `hashing.py`: content hashes: `hash`, and how they differ from those in a manifest.
- `hints.py`: which class each object of a graph most likely has.
- `graph_view.py`: an object graph, or a part of it, to be shown: `graph`.
- `layout.py`: which bytes of data shards no entry, or several entries, refer to.
- `overview.py`: a summary in one screen: `info`.
- `problems.py`: the problems that `verify` finds, as data.
- `blocks.py`: finds the blocks of an index whose end is lost.
- `tables.py`: damage of an index that hides no entry.
- `sectors.py`: damaged sectors among the bytes of tensors.
- `conversions.py`: data shards that were copied as text.
- `damage.py`: how bytes were damaged, as far as they tell it.
- `fingerprint.py`: whether a SavedModel still has the variables that it was saved with.
- `zeros.py`: zero bytes in place of tensors.
- `shard_checks.py`, `graph_checks.py`: problems of data shards and of object graphs.
- `verification.py`: `verify_checkpoint`.
- `timing.py`: how long jobs take, with this package and with others: `bench`.
"""
