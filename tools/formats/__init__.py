"""Tensors in files that are not TensorFlow checkpoints.

- `listed_index.py`: an index whose entries are all in memory.
- `zips.py`, `npy.py`: zip archives, and the header of an array file; together the format of `.npz` files.
- `safetensors.py`: the header of a safetensors file, and the index of a sharded one.
- `hdf5_names.py`, `names.py`: the names in such files, for shells that wait for them.
- `safetensors_index.py`, `npz_index.py`, `hdf5_index.py`, `keras_shards_index.py`: files as sources; `bundle/foreign.py` knows them by name.
- `single_file.py`: outputs that are one file.
- `safetensors_output.py`, `npz_output.py`, `hdf5_output.py`: files as outputs of a plan.
- `outputs.py`: which format an output has, by its name.
"""
