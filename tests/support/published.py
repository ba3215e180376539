"""The variables of published models by the names of their TF1 code, made small."""

from __future__ import annotations

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


def t5(layers: Sequence[int]) -> Shapes:
    """google-research/text-to-text-transfer-transformer, version 1.1, in Mesh TensorFlow."""
    shapes: Shapes = {"shared/embedding": (WORDS, HIDDEN), "decoder/logits/kernel": (HIDDEN, WORDS)}
    for stack, parts in (
        ("encoder", ("SelfAttention", "DenseReluDense")),
        ("decoder", ("SelfAttention", "EncDecAttention", "DenseReluDense")),
    ):
        for number in layers:
            for place, part in enumerate(parts):
                layer = f"{stack}/block_{number:03d}/layer_{place:03d}"
                shapes[f"{layer}/rms_norm/scale"] = (HIDDEN,)
                if part == "DenseReluDense":
                    shapes |= dict.fromkeys(
                        (f"{layer}/{part}/wi_{each}/kernel" for each in (0, 1)), (HIDDEN, INNER)
                    )
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


MODELS: Final[dict[str, Callable[[Sequence[int]], Shapes]]] = {
    "albert": albert,
    "bert": bert,
    "electra": electra,
    "gpt2": gpt2,
    "t5": t5,
}
