"""The names of a model's layers and weights in Keras: in object graphs, and in Keras's own weights files.

- `naming.py`: names of groups in a weights file.
- `layers.py`: the layers of a model, from the object graph of a checkpoint.
- `lost.py`: the layers that Keras 3 leaves out of its checkpoints.
- `classes.py`: the class of each layer: from configs and SavedModels, or guessed by the names of variables.
- `sublayers.py`: the layers of a subclassed model or layer, in and out of dictionaries.
- `dictionaries.py`: dictionaries of variables, which are those of the layer around them.
- `order.py`: the order of layers, where the versions of Keras differ.
- `weights.py`: where each variable of a model is stored in a `.weights.h5` file.
- `sequences.py`: the variables of a model in order, as legacy files and optimizers have them.
- `template.py`: the same, found with a weights file that the target model wrote.
"""
