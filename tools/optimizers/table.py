"""The names that classes of optimizers use for their state: data only.

A slot is a tensor that an optimizer keeps for a variable. Its role is its meaning, independent of its name:

    m, v, vhat           mean of gradients, of their squares (Adamax: their maximum), and the greatest v so far
    gradient_sum         decaying sum of gradients: Momentum of TF1
    momentum             the same times minus the learning rate: SGD of Keras
    rms, mg              mean of squared gradients and of gradients, and
    rms_momentum         decaying sum of steps: RMSProp
    accumulator, linear  sum of squared gradients, and Ftrl's linear term: Adagrad, Ftrl
    accum_grad           mean of squared gradients, and
    accum_var            of squared steps: Adadelta
    vr, vc               v averaged over the last axis, and over the last but one: Adafactor
    mesh_vr, mesh_vc     v averaged over the largest axis, and over the second largest: Adafactor of Mesh TensorFlow
    average, slow        copies of the variable: moving averages, Lookahead
    schedule_free        the variable before it is interpolated: ScheduleFreeAdamW; at first a copy
    gradient_accumulator gradients of several steps, added up before they are applied

The role of any other slot is its name in the optimizer.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "AVERAGED_BY_SIZE",
    "AVERAGES",
    "BOOKKEEPING",
    "CALLED_OPTIMIZER",
    "COPIES",
    "GRADIENT_SUM",
    "HYPERPARAMETERS",
    "KERAS_FIRST",
    "KERAS_LISTS",
    "KERAS_ORDERS",
    "KERAS_SCALARS",
    "KERAS_SLOTS",
    "KERAS_SUFFIXES",
    "KERAS_SUFFIXES_OF",
    "LEGACY_CLASSES",
    "LEGACY_ROLES",
    "LEGACY_SLOTS",
    "LISTS_OF",
    "LISTS_OF_NAMES",
    "LOSS_SCALE",
    "MOMENTUM",
    "MOMENTUM_SLOTS",
    "SCALED_BY_STEPS",
    "TF1_CLASSES",
    "TF1_SCALAR",
    "TF1_SUFFIX",
    "TF1_SUFFIXES",
    "TRAINING",
    "WRAPPED",
    "LegacyClass",
    "axes_of",
    "is_unused",
]

Shape = tuple[int, ...]

GRADIENT_SUM: Final = "gradient_sum"
MOMENTUM: Final = "momentum"
_AVERAGED: Final = frozenset({"vr", "vc", "mesh_vr", "mesh_vc"})
# Averaged over axes that depend on their lengths, so a reshaped variable has other averages. `vr` and `vc` with as many
# elements as before stay the same.
AVERAGED_BY_SIZE: Final = frozenset({"mesh_vr", "mesh_vc"})
# Means whose updates are scaled by the number of steps, so zeros after many steps are wrong: Adam's, Adafactor's.
SCALED_BY_STEPS: Final = frozenset({"m", "v", "vr", "vc"})
COPIES: Final = frozenset({"average", "slow", "schedule_free"})
_MOMENTS: Final = ("m", "v")

# --- TF1, by names ---------------------------------------------------------------------------------------------------

# Slots are named `variable/Name`, `variable/Name_1` and so on, in the order in which the optimizer makes them
# (TensorFlow python/training/*.py, `_create_slots`, and slot_creator.py; tensor2tensor utils/adafactor.py and
# utils/multistep_optimizer.py; contrib/opt). Where a class has several sets of slots, each is listed.
TF1_CLASSES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "Adam": (_MOMENTS, (*_MOMENTS, "gradient_accumulator")),  # three: MultistepAdam
    **dict.fromkeys(
        (
            "AdamW",
            "LazyAdam",
            "Nadam",
            "Adamax",
            "AdaMax",
            "AdamWeightDecay",
            "RAdam",
            "LAMB",
            "LAMBOptimizer",
        ),
        (_MOMENTS,),
    ),
    **dict.fromkeys(("Momentum", "MomentumW", "LARS", "LARSOptimizer"), ((GRADIENT_SUM,),)),
    **dict.fromkeys(("Adagrad", "ProximalAdagrad"), (("accumulator",),)),
    "AdagradDA": (("gradient_accumulator", "gradient_squared_accumulator"),),
    "Adadelta": (("accum_grad", "accum_var"),),
    "Ftrl": (("accumulator", "linear"),),
    "RMSProp": (("rms", "rms_momentum"), ("rms", "mg", "rms_momentum")),
    "Adafactor": (("vr", "vc"), ("v",), ("m", "v"), ("m", "vr", "vc")),
    "AddSign": (("m",),),
    "PowerSign": (("m",),),
    "SGD": (("sgd",),),
}
# `tf.train.ExponentialMovingAverage` (python/training/moving_averages.py) is not an optimizer: its copies are weights.
AVERAGES: Final = "ExponentialMovingAverage"
# Slots named `variable/suffix`: the optimizers of the BERT and ALBERT code.
TF1_SUFFIXES: Final = {"adam_m": "m", "adam_v": "v", "lamb_m": "m", "lamb_v": "v", "m": "m", "v": "v"}
# Slots named `variable` with this suffix, without a slash: mesh_tensorflow optimize.py, which T5 uses.
TF1_SUFFIX: Final = re.compile(r"(?P<variable>.+)_slot_(?P<name>m|v|vr|vc)", re.DOTALL)
# Scalars of an optimizer as a whole: python/training/adam.py, moving_averages.py, and
# python/training/experimental/loss_scale.py.
TF1_SCALAR: Final = re.compile(
    r"(?:.*/)?(?P<name>beta[12]_power|local_step|current_loss_scale|good_steps)(?:_\d+)?", re.DOTALL
)
# Keras optimizers in TF1 code keep everything below `training/NAME/`.
TRAINING: Final = re.compile(
    r"(?P<scope>training(?:_\d+)?/(?:SGD|RMSprop|Adam|Adamax|Nadam|Adagrad|Adadelta|Ftrl)(?:_\d+)?)/.+",
    re.DOTALL,
)

# --- Slot variables in object graphs ----------------------------------------------------------------------------------

# TF1's names of slots (python/training/*.py) whose role depends on the optimizer's other slots: the first row that has
# one of the optimizer's other slots, or none, applies.
MOMENTUM_SLOTS: Final[dict[str, tuple[tuple[str | None, str], ...]]] = {
    "momentum": (("rms", "rms_momentum"), (None, GRADIENT_SUM)),
    "accum": (("accum_update", "accum_grad"), (None, "accumulator")),  # Adadelta, Ftrl
    "accum_update": ((None, "accum_var"),),
}


class LegacyClass(NamedTuple):
    """A class of legacy Keras optimizers (tf_keras optimizers/legacy/*.py, `add_slot` and `_set_hyper`).

    Attributes:
        name: of the class.
        marks: hyperparameters that identify it, unless an earlier class in the list matches.
        roles: of its slots.
    """

    name: str
    marks: frozenset[str]
    roles: tuple[str, ...]


LEGACY_CLASSES: Final = (
    LegacyClass("RMSprop", frozenset({MOMENTUM, "rho"}), ("rms", "mg", "rms_momentum")),
    LegacyClass("Adam", frozenset({"beta_1"}), (*_MOMENTS, "vhat")),  # and Adamax, Nadam, LAMB, LazyAdam
    LegacyClass("Ftrl", frozenset({"l1_regularization_strength"}), ("accumulator", "linear")),
    LegacyClass("SGD", frozenset({MOMENTUM}), (MOMENTUM,)),
    LegacyClass("Adadelta", frozenset({"rho"}), ("accum_grad", "accum_var")),
    LegacyClass("Adagrad", frozenset({"learning_rate"}), ("accumulator",)),
)
# Slots of RMSprop's momentum have the same name as SGD's.
LEGACY_SLOTS: Final = {"rms_momentum": MOMENTUM}
LEGACY_ROLES: Final = (
    *(*_MOMENTS, "vhat", "rms", MOMENTUM, "mg", "accumulator", "linear"),
    *("accum_grad", "accum_var", "average", "slow"),
)
HYPERPARAMETERS: Final = frozenset(
    {"learning_rate", "decay"}
)  # every legacy optimizer has at least one of them

# --- Keras 2.11 and later, Keras 3 ------------------------------------------------------------------------------------

# Attributes that are lists of slots, one slot for each trained variable (tf_keras and keras optimizers/*.py, `build`).
KERAS_LISTS: Final = {
    "_momentums": "m",
    "_velocities": "v",
    "_velocity_hats": "vhat",
    "_m": "m",
    "_u": "v",
    "momentums": MOMENTUM,
    "_accumulators": "accumulator",
    "_linears": "linear",
    "_accumulated_grads": "accum_grad",
    "_accumulated_delta_vars": "accum_var",
    "_r": "vr",
    "_c": "vc",
    "_v": "v",
    "_model_variables_moving_average": "average",
    "_accumulated_gradients": "gradient_accumulator",
    "adam_velocities": "v",
}
# The same for classes that are identified by an attribute.
LISTS_OF: Final = {
    "_average_gradients": {"_velocities": "rms", "_momentums": "rms_momentum", "_average_gradients": "mg"},
    "adam_velocities": {"momentums": "muon"},
}
# The same for classes that only the name of the optimizer identifies, which Keras gives it and which begins so.
LISTS_OF_NAMES: Final = {"schedule_free": {"_momentums": "schedule_free"}, "lion": {"momentums": "m"}}
# Keras 3 names a slot `optimizer/variable_path_suffix` (keras optimizers/base_optimizer.py,
# `add_variable_from_reference`), even if its lists are not in the graph: Muon, Adafactor, and all before 3.9.
KERAS_SUFFIXES: Final = {
    "velocity_hat": "vhat",
    "momentum": "m",
    "velocity": "v",
    "norm": "v",
    "accumulator": "accumulator",
    "linear": "linear",
    "accumulated_grad": "accum_grad",
    "accumulated_delta_var": "accum_var",
    "average": "average",
    "gradient_accumulator": "gradient_accumulator",
}
KERAS_SUFFIXES_OF: Final = {
    "_average_gradients": {"velocity": "rms", "momentum": "rms_momentum", "average_gradient": "mg"},
    "adam_velocities": {"momentum": "muon"},
    "momentums": {"momentum": MOMENTUM},
}
# Slots by the names of variables alone, as `convert --to tf1` stores them: `Adam/m/dense/kernel` of Keras 2.11 to 2.15 and
# tf_keras (optimizers/optimizer.py, `add_variable_from_reference`), `adam/dense_kernel_momentum` of Keras 3. By the class,
# which the scope shows, in lower case and without '_'. Muon is not here: its names do not tell its slots from Adam's.
_ADAM: Final = {"m": "m", "v": "v", "vhat": "vhat", "momentum": "m", "velocity": "v", "velocity_hat": "vhat"}
_EVERY: Final = {"average": "average", "gradient_accumulator": "gradient_accumulator"}
KERAS_SLOTS: Final[dict[str, dict[str, str]]] = {
    **dict.fromkeys(("adam", "adamw", "nadam", "lamb"), _ADAM | _EVERY),
    "adamax": {"m": "m", "u": "v", "momentum": "m", "norm": "v", **_EVERY},
    "sgd": {"m": MOMENTUM, "momentum": MOMENTUM, **_EVERY},
    "lion": {"m": "m", "momentum": "m", **_EVERY},
    "rmsprop": {"velocity": "rms", "momentum": "rms_momentum", "average_gradient": "mg", **_EVERY},
    "adagrad": {"accumulator": "accumulator", **_EVERY},
    "adadelta": {"accumulated_grad": "accum_grad", "accumulated_delta_var": "accum_var", **_EVERY},
    "ftrl": {"accumulator": "accumulator", "linear": "linear", **_EVERY},
    "schedulefreeadamw": {"momentum": "schedule_free", "velocity": "v", **_EVERY},
}
# The order of `_variables` in Keras 3; the first attribute that the optimizer has applies. Blocks follow each other; in
# a block, all roles of a variable are side by side. Averages and accumulated gradients, if any, come before the blocks.
KERAS_FIRST: Final = ("_model_variables_moving_average", "_accumulated_gradients")
KERAS_ORDERS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "_r": (("vr", "vc", "v"),),
    "_average_gradients": (("rms",), ("rms_momentum",), ("mg",)),
    "_velocity_hats": (_MOMENTS, ("vhat",)),
    "_velocities": (_MOMENTS,),
    "_u": (_MOMENTS,),
    "_accumulated_delta_vars": (("accum_grad", "accum_var"),),
    "_linears": (("accumulator", "linear"),),
    "_accumulators": (("accumulator",),),
    "_momentums": (("m",),),
    "momentums": ((MOMENTUM,),),
}
# Scalars, with their names in legacy optimizers.
KERAS_SCALARS: Final = {
    "_learning_rate": "learning_rate",
    "_u_product": "momentum_cache",
    "step_counter": "good_steps",
    "dynamic_scale": "current_loss_scale",
}
BOOKKEEPING: Final = frozenset(
    {"_variables", "_trainable_variables", "_trainable_variables_indices", "_index_dict", "exclude_layers"}
)

# --- Wrappers ---------------------------------------------------------------------------------------------------------

# The attributes for a wrapped optimizer: mixed_precision/loss_scale_optimizer.py of tf_keras, Keras 3.
WRAPPED: Final = frozenset({"base_optimizer", "inner_optimizer"})
LOSS_SCALE: Final = "loss_scale"  # an object with scalars
CALLED_OPTIMIZER: Final = re.compile(r"(?:^|_)opt(?:im(?:izer)?)?(?:_|\d|$)", re.IGNORECASE)


def is_unused(role: str, variable: Shape, roles: Collection[str]) -> bool:
    """Whether an optimizer never reads this slot of a variable, given the roles of the slots that it has.

    Keras's Adafactor makes `v` for every variable, and `vr` and `vc` as scalars for those with fewer than two axes.
    """
    averaged = "vr" in roles and len(variable) >= 2
    return (role == "v" and averaged) or (role in ("vr", "vc") and len(variable) < 2)


def axes_of(role: str, variable: Shape, slot: Shape) -> Shape | None:
    """The axes of a variable that its slot has too, in order; empty for a scalar; None if the shapes do not tell.

    Adafactor averages over one axis; all other slots have their variable's shape, or are scalars.
    """
    axes = range(len(variable))
    if role in _AVERAGED and len(axes) >= 2:
        by_size = sorted(axes, key=lambda axis: -variable[axis])
        gone = {"vr": axes[-1], "vc": axes[-2], "mesh_vr": by_size[0], "mesh_vc": by_size[1]}[role]
        left = tuple(axis for axis in axes if axis != gone)
        if tuple(variable[axis] for axis in left) == slot:
            return left
    elif role not in _AVERAGED and slot == variable:
        return tuple(axes)
    return () if math.prod(slot) == 1 else None
