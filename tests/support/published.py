"""The variables of published models by the names of their TF1 code, made small."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Shapes = dict[str, tuple[int, ...]]

WORDS, LENGTH, HIDDEN, INNER, EMBEDDED = 31, 8, 4, 6, 3


def _dense(scope: str, inputs: int, outputs: int) -> Shapes:
    """A dense layer, whose kernel is [in, out]."""
    return {f"{scope}/kernel": (inputs, outputs), f"{scope}/bias": (outputs,)}


def _norm(scope: str, size: int, name: str = "LayerNorm") -> Shapes:
    return {f"{scope}/{name}/gamma": (size,), f"{scope}/{name}/beta": (size,)}


def _embeddings(scope: str, size: int) -> Shapes:
    return {
        f"{scope}/embeddings/word_embeddings": (WORDS, size),
        f"{scope}/embeddings/position_embeddings": (LENGTH, size),
        f"{scope}/embeddings/token_type_embeddings": (2, size),
    } | _norm(f"{scope}/embeddings", size)


def _encoder(scope: str, layers: Sequence[int]) -> Shapes:
    shapes: Shapes = {}
    for number in layers:
        layer = f"{scope}/encoder/layer_{number}"
        for name in ("query", "key", "value"):
            shapes |= _dense(f"{layer}/attention/self/{name}", HIDDEN, HIDDEN)
        shapes |= _dense(f"{layer}/attention/output/dense", HIDDEN, HIDDEN)
        shapes |= _norm(f"{layer}/attention/output", HIDDEN)
        shapes |= _dense(f"{layer}/intermediate/dense", HIDDEN, INNER)
        shapes |= _dense(f"{layer}/output/dense", INNER, HIDDEN) | _norm(f"{layer}/output", HIDDEN)
    return shapes


def _next_sentence() -> Shapes:
    return {"cls/seq_relationship/output_weights": (2, HIDDEN), "cls/seq_relationship/output_bias": (2,)}


def bert(layers: Sequence[int]) -> Shapes:
    """google-research/bert, with the heads of pre-training."""
    shapes = (
        _embeddings("bert", HIDDEN) | _encoder("bert", layers) | _dense("bert/pooler/dense", HIDDEN, HIDDEN)
    )
    shapes |= _dense("cls/predictions/transform/dense", HIDDEN, HIDDEN)
    shapes |= _norm("cls/predictions/transform", HIDDEN) | {"cls/predictions/output_bias": (WORDS,)}
    return shapes | _next_sentence()


def albert(layers: Sequence[int]) -> Shapes:
    """google-research/albert, whose layers share one set of variables."""
    del layers
    layer = "bert/encoder/transformer/group_0/inner_group_0"
    shapes = _embeddings("bert", EMBEDDED)
    shapes |= _dense("bert/encoder/embedding_hidden_mapping_in", EMBEDDED, HIDDEN)
    for name in ("query", "key", "value"):
        shapes |= _dense(f"{layer}/attention_1/self/{name}", HIDDEN, HIDDEN)
    shapes |= _dense(f"{layer}/attention_1/output/dense", HIDDEN, HIDDEN) | _norm(layer, HIDDEN)
    shapes |= _dense(f"{layer}/ffn_1/intermediate/dense", HIDDEN, INNER)
    shapes |= _dense(f"{layer}/ffn_1/intermediate/output/dense", INNER, HIDDEN)
    shapes |= _norm(layer, HIDDEN, "LayerNorm_1") | _dense("bert/pooler/dense", HIDDEN, HIDDEN)
    shapes |= _dense("cls/predictions/transform/dense", HIDDEN, EMBEDDED)
    shapes |= _norm("cls/predictions/transform", EMBEDDED) | {"cls/predictions/output_bias": (WORDS,)}
    return shapes | _next_sentence()


def electra(layers: Sequence[int]) -> Shapes:
    """google-research/electra, the discriminator."""
    shapes = _embeddings("electra", EMBEDDED) | _dense("electra/embeddings_project", EMBEDDED, HIDDEN)
    shapes |= _encoder("electra", layers) | _dense("discriminator_predictions/dense", HIDDEN, HIDDEN)
    return shapes | _dense("discriminator_predictions/dense_1", HIDDEN, 1)


def gpt2(layers: Sequence[int]) -> Shapes:
    """openai/gpt-2, whose weights of dense layers are [1, in, out]."""
    shapes: Shapes = {"model/wte": (WORDS, HIDDEN), "model/wpe": (LENGTH, HIDDEN)}
    for number in layers:
        layer = f"model/h{number}"
        for name, inputs, outputs in (
            ("attn/c_attn", HIDDEN, 3 * HIDDEN),
            ("attn/c_proj", HIDDEN, HIDDEN),
            ("mlp/c_fc", HIDDEN, 4 * HIDDEN),
            ("mlp/c_proj", 4 * HIDDEN, HIDDEN),
        ):
            shapes |= {f"{layer}/{name}/w": (1, inputs, outputs), f"{layer}/{name}/b": (outputs,)}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"{layer}/{name}/g": (HIDDEN,), f"{layer}/{name}/b": (HIDDEN,)}
    return shapes | {"model/ln_f/g": (HIDDEN,), "model/ln_f/b": (HIDDEN,)}


def t5(layers: Sequence[int], *, old: bool = False) -> Shapes:
    """google-research/text-to-text-transfer-transformer in Mesh TensorFlow, version 1.1 or 1.0."""
    shapes: Shapes = {"shared/embedding": (WORDS, HIDDEN)}
    if not old:  # 1.0 computes logits with the embedding
        shapes["decoder/logits/kernel"] = (HIDDEN, WORDS)
    for stack, parts in (
        ("encoder", ("SelfAttention", "DenseReluDense")),
        ("decoder", ("SelfAttention", "EncDecAttention", "DenseReluDense")),
    ):
        for number in layers:
            for place, part in enumerate(parts):
                layer = f"{stack}/block_{number:03d}/layer_{place:03d}"
                shapes[f"{layer}/rms_norm/scale"] = (HIDDEN,)
                if part == "DenseReluDense":
                    for each in ("wi",) if old else ("wi_0", "wi_1"):
                        shapes[f"{layer}/{part}/{each}/kernel"] = (HIDDEN, INNER)
                    shapes[f"{layer}/{part}/wo/kernel"] = (INNER, HIDDEN)
                else:
                    shapes |= dict.fromkeys(
                        (f"{layer}/{part}/{each}" for each in "qkv"), (HIDDEN, 2 * HIDDEN)
                    )
                    shapes[f"{layer}/{part}/o"] = (2 * HIDDEN, HIDDEN)
                    if part == "SelfAttention" and number == 0:
                        shapes[f"{layer}/{part}/relative_attention_bias"] = (2, 32)
        shapes[f"{stack}/rms_norm/scale"] = (HIDDEN,)
    return shapes


def _batch_norm(scope: str, size: int) -> Shapes:
    return {f"{scope}/{name}": (size,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}


# The stages of EfficientNetB0: repeats, size of kernels, channels in and out, whether they are expanded, and stride. The
# channels of the real model are others.
STAGES: Final = (
    (1, 3, 8, 16, False, 1),
    (2, 3, 16, 8, True, 2),
    (2, 5, 8, 16, True, 2),
    (3, 3, 16, 24, True, 2),
    (3, 5, 24, 8, True, 1),
    (4, 5, 8, 16, True, 2),
    (1, 3, 16, 24, True, 1),
)
TOP: Final = 320  # channels


def efficientnet(depth: float = 1.0) -> Shapes:
    """EfficientNet of tf.keras.applications, with names as Keras makes them."""
    shapes: Shapes = {"stem_conv/kernel": (3, 3, 3, 8)} | _batch_norm("stem_bn", 8)
    shapes |= {"normalization/mean": (3,), "normalization/variance": (3,), "normalization/count": ()}
    for stage, (repeats, size, inputs, outputs, is_expanded, _) in enumerate(STAGES, 1):
        for number in range(math.ceil(depth * repeats)):
            block = f"block{stage}{chr(ord('a') + number)}"
            have = outputs if number else inputs
            inner = 6 * have if is_expanded else have
            if is_expanded:
                shapes |= {f"{block}_expand_conv/kernel": (1, 1, have, inner)}
                shapes |= _batch_norm(f"{block}_expand_bn", inner)
            shapes |= {f"{block}_dwconv/depthwise_kernel": (size, size, inner, 1)}
            shapes |= _batch_norm(f"{block}_bn", inner)
            squeezed = max(1, have // 4)
            shapes |= {
                f"{block}_se_reduce/kernel": (1, 1, inner, squeezed),
                f"{block}_se_reduce/bias": (squeezed,),
            }
            shapes |= {
                f"{block}_se_expand/kernel": (1, 1, squeezed, inner),
                f"{block}_se_expand/bias": (inner,),
            }
            shapes |= {f"{block}_project_conv/kernel": (1, 1, inner, outputs)}
            shapes |= _batch_norm(f"{block}_project_bn", outputs)
    shapes |= {"top_conv/kernel": (1, 1, STAGES[-1][3], TOP)} | _batch_norm("top_bn", TOP)
    return shapes | _dense("predictions", TOP, 3)


def resnet_v2(size: int) -> Shapes:
    """resnet_v2_50, 101 or 152 of TF-Slim; only the inputs of the last layer are as many as in the real model."""
    scope = f"resnet_v2_{size}"
    shapes: Shapes = {f"{scope}/conv1/weights": (7, 7, 3, 2), f"{scope}/conv1/biases": (2,)}
    have = 2
    units = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[size]
    for block, (count, inner, outputs) in enumerate(
        zip(units, (2, 3, 4, 5), (8, 12, 16, 2048), strict=True), 1
    ):
        for unit in range(1, count + 1):
            at = f"{scope}/block{block}/unit_{unit}/bottleneck_v2"
            shapes |= _batch_norm(f"{at}/preact", have)
            if unit == 1:
                shapes |= {
                    f"{at}/shortcut/weights": (1, 1, have, outputs),
                    f"{at}/shortcut/biases": (outputs,),
                }
            shapes |= {f"{at}/conv1/weights": (1, 1, have, inner)} | _batch_norm(
                f"{at}/conv1/BatchNorm", inner
            )
            shapes |= {f"{at}/conv2/weights": (3, 3, inner, inner)} | _batch_norm(
                f"{at}/conv2/BatchNorm", inner
            )
            shapes |= {f"{at}/conv3/weights": (1, 1, inner, outputs), f"{at}/conv3/biases": (outputs,)}
            have = outputs
    shapes |= _batch_norm(f"{scope}/postnorm", have)
    return shapes | {f"{scope}/logits/weights": (1, 1, have, 3), f"{scope}/logits/biases": (3,)}


def _convolution(scope: str, size: int, inputs: int, outputs: int) -> Shapes:
    """A convolution of TF-Slim with batch normalization."""
    return {f"{scope}/weights": (size, size, inputs, outputs)} | _batch_norm(f"{scope}/BatchNorm", outputs)


def _depthwise(scope: str, channels: int) -> Shapes:
    return {f"{scope}/depthwise_weights": (3, 3, channels, 1)} | _batch_norm(f"{scope}/BatchNorm", channels)


def _detection(extractor: str, last: str, inputs: int, *, lite: bool) -> Shapes:
    """The layers of an SSD after its backbone: two more feature maps, and predictors for three."""
    shapes: Shapes = {}
    channels = [inputs]
    for number in (2, 3):
        narrow = f"{extractor}/{last}_1_Conv2d_{number}_1x1_{2 * number}"
        wide = f"{extractor}/{last}_2_Conv2d_{number}_3x3_s2_{4 * number}"
        shapes |= _convolution(narrow, 1, channels[-1], 2 * number)
        if lite:
            shapes |= _depthwise(f"{wide}_depthwise", 2 * number)
        shapes |= _convolution(wide, 1 if lite else 3, 2 * number, 4 * number)
        channels.append(4 * number)
    for number, size in enumerate(channels):
        for name, outputs in (("BoxEncodingPredictor", 12), ("ClassPredictor", 9)):
            scope = f"BoxPredictor_{number}/{name}"
            if lite:
                shapes |= _depthwise(f"{scope}_depthwise", size)
            shapes |= {f"{scope}/weights": (1, 1, size, outputs), f"{scope}/biases": (outputs,)}
    return shapes


CHANNELS_V1: Final = (
    8,
    8,
    16,
    16,
    32,
    32,
    64,
    64,
    64,
    64,
    64,
    64,
    128,
    128,
)  # of MobileNet v1, depth multiplier 1/8
CHANNELS_V2: Final = (8, 8, *(8,) * 2, *(8,) * 3, *(8,) * 4, *(16,) * 3, *(24,) * 3, 40)  # of v2, the same
EXPANDED: Final = 6
LAST_V2: Final = 160


def ssd_mobilenet_v1() -> Shapes:
    """SSD with MobileNet v1 of the Object Detection API."""
    extractor = "FeatureExtractor/MobilenetV1"
    shapes = _convolution(f"{extractor}/Conv2d_0", 3, 3, CHANNELS_V1[0])
    for number, (have, outputs) in enumerate(itertools.pairwise(CHANNELS_V1), 1):
        shapes |= _depthwise(f"{extractor}/Conv2d_{number}_depthwise", have)
        shapes |= _convolution(f"{extractor}/Conv2d_{number}_pointwise", 1, have, outputs)
    return shapes | _detection(extractor, "Conv2d_13_pointwise", CHANNELS_V1[-1], lite=False)


def ssd_mobilenet_v2() -> Shapes:
    """SSDLite with MobileNet v2 of the Object Detection API."""
    extractor = "FeatureExtractor/MobilenetV2"
    shapes = _convolution(f"{extractor}/Conv", 3, 3, CHANNELS_V2[0])
    for number, (have, outputs) in enumerate(itertools.pairwise(CHANNELS_V2)):
        layer = f"{extractor}/expanded_conv_{number}" if number else f"{extractor}/expanded_conv"
        inner = EXPANDED * have if number else have
        if number:
            shapes |= _convolution(f"{layer}/expand", 1, have, inner)
        shapes |= _depthwise(f"{layer}/depthwise", inner) | _convolution(
            f"{layer}/project", 1, inner, outputs
        )
    shapes |= _convolution(f"{extractor}/Conv_1", 1, CHANNELS_V2[-1], LAST_V2)
    return shapes | _detection(extractor, "layer_19", LAST_V2, lite=True)


MODELS: Final[dict[str, Callable[[Sequence[int]], Shapes]]] = {
    "albert": albert,
    "bert": bert,
    "electra": electra,
    "gpt2": gpt2,
    "t5": t5,
    "t5-1.0": partial(t5, old=True),
}
DEPTHS: Final = {"b0": 1.0, "b1": 1.1, "b2": 1.2, "b3": 1.4, "b4": 1.8, "b5": 2.2, "b6": 2.6, "b7": 3.1}
IMAGE_MODELS: Final[dict[str, Callable[[], Shapes]]] = {
    **{f"efficientnet-{name}": partial(efficientnet, depth) for name, depth in DEPTHS.items()},
    **{f"resnet-v2-{size}": partial(resnet_v2, size) for size in (50, 101, 152)},
    "ssd-mobilenet-v1": ssd_mobilenet_v1,
    "ssd-mobilenet-v2": ssd_mobilenet_v2,
}
