"""The format of an output, by the suffix of its name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import UnsupportedError

if TYPE_CHECKING:
    from tensorbundle.tools.rewriting.plan import Output

__all__ = ["HDF5_ENDINGS", "WEIGHTS_ENDING", "WITH_TEXTS", "output_of"]

WEIGHTS_ENDING: Final = ".weights.h5"  # of Keras 3
HDF5_ENDINGS: Final = (".h5", ".hdf5")
# Modules are imported when an output needs them: HDF5's needs NumPy, which linking does not.
_OUTPUTS: Final = {
    ".safetensors": "safetensors_output.SafetensorsOutput",
    ".safetensors.index.json": "safetensors_output.SafetensorsOutput",
    ".npz": "npz_output.NpzOutput",
    **dict.fromkeys(HDF5_ENDINGS, "hdf5_output.Hdf5Output"),
}
WITH_TEXTS: Final = (".safetensors", ".safetensors.index.json", *HDF5_ENDINGS)  # beside the tensors
_ONLY_READ: Final = {
    ".keras": "a .keras file has the model's config besides its weights",
    ".weights.json": "weights of Keras in several files are only read",
}


def output_of(path: str) -> Output | None:
    """The format of an output with this name; None if it is a TensorFlow checkpoint.

    Raises:
        UnsupportedError: the format can only be read.
    """
    for ending, why in _ONLY_READ.items():
        if path.endswith(ending):
            raise UnsupportedError(f"{why}; write a .weights.h5 file, which load_weights takes", path=path)
    for ending, name in _OUTPUTS.items():
        if path.endswith(ending):
            module, output = name.split(".")
            found: Output = getattr(importlib.import_module(f"tensorbundle.tools.formats.{module}"), output)()
            return found
    return None
