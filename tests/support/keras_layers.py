"""Layers as they are stored in object graphs: variables by attribute, with full names in the scope of the layer's name."""

__all__ = ["NORM", "block", "dense", "layer"]

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def layer(name, *variables):
    return {each: f"{name}/{each}" for each in variables}


def dense(name):
    return layer(name, "kernel", "bias")


def block(name):
    """A layer without variables of its own."""
    return {
        "norm": layer(f"{name}/norm", "gamma"),
        "inner": {"0": dense(f"{name}/a"), "1": dense(f"{name}/b")},
    }
