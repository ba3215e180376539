"""transformers loads what recipes make of TF1 checkpoints, and computes what their TF1 code would, here in NumPy."""

import json
import math
import os

import numpy as np
import pytest

import tensorbundle as tb
from support.published import HIDDEN, INNER, LENGTH, MODELS, WORDS
from tensorbundle.tools.cli import main

if os.environ.get("TENSORBUNDLE_REQUIRE_TRANSFORMERS"):
    import torch
    import transformers
else:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
HEADS = 2
LAYERS = (0, 1)
RNG = np.random.default_rng(0)
TOKENS, SEGMENTS = RNG.integers(0, WORDS, (3, LENGTH)), RNG.integers(0, 2, (3, LENGTH))
TARGETS = RNG.integers(0, WORDS, (3, LENGTH))


def gelu(values):
    return values * 0.5 * (1 + np.vectorize(math.erf)(values / np.sqrt(2)))


def gelu_by_tanh(values):
    return 0.5 * values * (1 + np.tanh(np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)))


def normalized(inputs, scale, offset, epsilon):
    centered = inputs - inputs.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * scale + offset


def rms_normalized(inputs, scale):
    return inputs / np.sqrt((inputs**2).mean(-1, keepdims=True) + 1e-6) * scale


def attended(query, key, value, bias=0.0, scale=None):
    """Attention of several heads, with a bias of the scores."""
    query, key, value = (
        each.reshape(*each.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for each in (query, key, value)
    )
    scores = query @ key.transpose(0, 1, 3, 2) / (scale or math.sqrt(query.shape[-1])) + bias
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = (weights @ value).transpose(0, 2, 1, 3)
    return out.reshape(*out.shape[:2], -1)


class Weights(dict):
    """The tensors of a checkpoint, and the layers that BERT and its kin have."""

    def dense(self, scope, inputs):
        return inputs @ self[f"{scope}/kernel"] + self[f"{scope}/bias"]

    def norm(self, scope, inputs):
        return normalized(inputs, self[f"{scope}/gamma"], self[f"{scope}/beta"], 1e-12)

    def embedded(self, scope):
        words, positions, segments = (
            self[f"{scope}/{name}_embeddings"] for name in ("word", "position", "token_type")
        )
        return self.norm(f"{scope}/LayerNorm", words[TOKENS] + positions[:LENGTH] + segments[SEGMENTS])

    def layer(self, hidden, attention, out, first_norm, inner, outer, second_norm):
        heads = (self.dense(f"{attention}/{name}", hidden) for name in ("query", "key", "value"))
        hidden = self.norm(first_norm, hidden + self.dense(out, attended(*heads)))
        return self.norm(second_norm, hidden + self.dense(outer, gelu(self.dense(inner, hidden))))

    def encoded(self, scope, hidden):
        for number in LAYERS:
            layer = f"{scope}/encoder/layer_{number}"
            attention, out = f"{layer}/attention/self", f"{layer}/attention/output"
            inner, outer = f"{layer}/intermediate/dense", f"{layer}/output"
            hidden = self.layer(
                hidden,
                attention,
                f"{out}/dense",
                f"{out}/LayerNorm",
                inner,
                f"{outer}/dense",
                f"{outer}/LayerNorm",
            )
        return hidden

    def pretraining(self, hidden):
        pooled = np.tanh(self.dense("bert/pooler/dense", hidden[:, 0]))
        words = gelu(self.dense("cls/predictions/transform/dense", hidden))
        words = self.norm("cls/predictions/transform/LayerNorm", words)
        words = words @ self["bert/embeddings/word_embeddings"].T + self["cls/predictions/output_bias"]
        follows = pooled @ self["cls/seq_relationship/output_weights"].T
        return words, follows + self["cls/seq_relationship/output_bias"]


def bert(weights):
    return weights.pretraining(weights.encoded("bert", weights.embedded("bert/embeddings")))


def albert(weights):
    hidden = weights.dense("bert/encoder/embedding_hidden_mapping_in", weights.embedded("bert/embeddings"))
    layer = "bert/encoder/transformer/group_0/inner_group_0"
    inner = f"{layer}/ffn_1/intermediate"
    for _ in LAYERS:
        hidden = weights.layer(
            hidden,
            f"{layer}/attention_1/self",
            f"{layer}/attention_1/output/dense",
            f"{layer}/LayerNorm",
            f"{inner}/dense",
            f"{inner}/output/dense",
            f"{layer}/LayerNorm_1",
        )
    return weights.pretraining(hidden)


def electra(weights):
    hidden = weights.dense("electra/embeddings_project", weights.embedded("electra/embeddings"))
    hidden = gelu(weights.dense("discriminator_predictions/dense", weights.encoded("electra", hidden)))
    return (weights.dense("discriminator_predictions/dense_1", hidden)[..., 0],)


def gpt2(weights):
    def dense(scope, inputs):
        return inputs @ weights[f"{scope}/w"][0] + weights[f"{scope}/b"]

    def norm(scope, inputs):
        return normalized(inputs, weights[f"{scope}/g"], weights[f"{scope}/b"], 1e-5)

    hidden = weights["model/wte"][TOKENS] + weights["model/wpe"][:LENGTH]
    future = np.triu(np.full((LENGTH, LENGTH), -1e9), 1)
    for number in LAYERS:
        layer = f"model/h{number}"
        heads = np.split(dense(f"{layer}/attn/c_attn", norm(f"{layer}/ln_1", hidden)), 3, -1)
        hidden = hidden + dense(f"{layer}/attn/c_proj", attended(*heads, future))
        inner = gelu_by_tanh(dense(f"{layer}/mlp/c_fc", norm(f"{layer}/ln_2", hidden)))
        hidden = hidden + dense(f"{layer}/mlp/c_proj", inner)
    return (norm("model/ln_f", hidden) @ weights["model/wte"].T,)


def t5(weights):
    """All distances are below 8, where each has a bucket of its own."""
    distance = np.arange(LENGTH)[None] - np.arange(LENGTH)[:, None]  # of what is looked at, from where

    def inner(scope, inputs):
        if f"{scope}/wi/kernel" in weights:  # 1.0
            return np.maximum(inputs @ weights[f"{scope}/wi/kernel"], 0)
        gate, linear = (inputs @ weights[f"{scope}/wi_{each}/kernel"] for each in (0, 1))
        return gelu_by_tanh(gate) * linear

    def stack(name, hidden, encoded=None):
        buckets = (
            np.where(distance > 0, 16 + distance, -distance) if encoded is None else np.maximum(-distance, 0)
        )
        bias = weights[f"{name}/block_000/layer_000/SelfAttention/relative_attention_bias"][:, buckets]
        if encoded is not None:
            bias = bias + np.triu(np.full((LENGTH, LENGTH), -1e9), 1)
        for number in LAYERS:
            parts = ["SelfAttention", *(["EncDecAttention"] if encoded is not None else []), "DenseReluDense"]
            for place, part in enumerate(parts):
                layer = f"{name}/block_{number:03d}/layer_{place:03d}"
                inputs = rms_normalized(hidden, weights[f"{layer}/rms_norm/scale"])
                if part == "DenseReluDense":
                    hidden = hidden + inner(f"{layer}/{part}", inputs) @ weights[f"{layer}/{part}/wo/kernel"]
                    continue
                other = inputs if part == "SelfAttention" else encoded
                query, key, value = (
                    seen @ weights[f"{layer}/{part}/{each}"]
                    for each, seen in (("q", inputs), ("k", other), ("v", other))
                )
                own = bias if part == "SelfAttention" else 0.0
                hidden = hidden + attended(query, key, value, own, 1.0) @ weights[f"{layer}/{part}/o"]
        return rms_normalized(hidden, weights[f"{name}/rms_norm/scale"])

    encoded = stack("encoder", weights["shared/embedding"][TOKENS])
    decoded = stack("decoder", weights["shared/embedding"][TARGETS], encoded)
    if "decoder/logits/kernel" in weights:
        return (decoded @ weights["decoder/logits/kernel"],)
    return (decoded / np.sqrt(HIDDEN) @ weights["shared/embedding"].T,)


SIZES = {
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "num_hidden_layers": len(LAYERS),
    "max_position_embeddings": LENGTH,
    "hidden_act": "gelu",
}
T5 = {
    "model_type": "t5",
    "vocab_size": WORDS,
    "d_model": HIDDEN,
    "d_kv": HIDDEN,
    "d_ff": INNER,
    "num_heads": HEADS,
    "num_layers": len(LAYERS),
}
CASES = {
    "albert": (albert, "AlbertForPreTraining", {**SIZES, "embedding_size": 3, "inner_group_num": 1}),
    "bert": (bert, "BertForPreTraining", SIZES),
    "electra": (electra, "ElectraForPreTraining", {**SIZES, "embedding_size": 3}),
    "gpt2": (
        gpt2,
        "GPT2LMHeadModel",
        {
            "vocab_size": WORDS,
            "n_positions": LENGTH,
            "n_embd": HIDDEN,
            "n_layer": len(LAYERS),
            "n_head": HEADS,
        },
    ),
    "t5": (
        t5,
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "t5-1.0": (t5, "T5ForConditionalGeneration", {**T5, "feed_forward_proj": "relu"}),
}


@pytest.mark.parametrize("name", CASES)
def test_transformers_computes_the_same(name, tmp_path):
    compute, kind, config = CASES[name]
    rng = np.random.default_rng(1)
    weights = Weights()
    with tb.create(tmp_path / "ckpt") as writer:
        for key, shape in MODELS[name](LAYERS).items():
            values = rng.normal(scale=0.5, size=shape).astype("f4")
            writer.add(key, values)
            weights[key] = values.astype("f8")
    folder = tmp_path / "hf"
    folder.mkdir()
    both, recipe = [str(tmp_path / "ckpt"), str(folder / "model.safetensors")], ["--recipe", f"hf:{name}"]
    assert main(["rewrite", *both, *recipe, "--metadata", "format=pt"]) == 0
    assert main(["diff", *both, *recipe]) == 0
    (folder / "config.json").write_text(json.dumps({"model_type": name, **config}))
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"], report
    assert not report["unexpected_keys"], report
    given = {"input_ids": torch.tensor(TOKENS)}
    if name.startswith("t5"):
        given["decoder_input_ids"] = torch.tensor(TARGETS)
    elif name != "gpt2":
        given["token_type_ids"] = torch.tensor(SEGMENTS)
    with torch.no_grad():
        out = model.eval()(**given, return_dict=True)
    found = (
        [out.logits]
        if "logits" in out
        else [out.prediction_logits, out.get("seq_relationship_logits", out.get("sop_logits"))]
    )
    for ours, theirs in zip(compute(weights), found, strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-4, atol=1e-5)
