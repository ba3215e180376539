import tomllib

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.tools import rewrite
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.steps.recipe import shipped_recipes

HIDDEN, INNER, WORDS = 4, 6, 11


def bert():
    """The shapes of a small BERT by the names of google-research, kernels as [in, out]."""

    def dense(scope, inputs, outputs):
        return {f"{scope}/kernel": (inputs, outputs), f"{scope}/bias": (outputs,)}

    def norm(scope):
        return {f"{scope}/LayerNorm/gamma": (HIDDEN,), f"{scope}/LayerNorm/beta": (HIDDEN,)}

    shapes = {
        "bert/embeddings/word_embeddings": (WORDS, HIDDEN),
        "bert/embeddings/position_embeddings": (8, HIDDEN),
        "bert/embeddings/token_type_embeddings": (2, HIDDEN),
    } | norm("bert/embeddings")
    for number in (0, 11):
        layer = f"bert/encoder/layer_{number}"
        for name in ("query", "key", "value"):
            shapes |= dense(f"{layer}/attention/self/{name}", HIDDEN, HIDDEN)
        shapes |= dense(f"{layer}/attention/output/dense", HIDDEN, HIDDEN) | norm(f"{layer}/attention/output")
        shapes |= dense(f"{layer}/intermediate/dense", HIDDEN, INNER)
        shapes |= dense(f"{layer}/output/dense", INNER, HIDDEN) | norm(f"{layer}/output")
    shapes |= dense("bert/pooler/dense", HIDDEN, HIDDEN)
    shapes |= dense("cls/predictions/transform/dense", HIDDEN, HIDDEN) | norm("cls/predictions/transform")
    shapes |= {"cls/predictions/output_bias": (WORDS,)}
    shapes |= {"cls/seq_relationship/output_weights": (2, HIDDEN), "cls/seq_relationship/output_bias": (2,)}
    return shapes


@pytest.fixture
def trained(tmp_path):
    rng = np.random.default_rng(0)
    with tb.create(tmp_path / "bert") as writer:
        for name, shape in bert().items():
            for each in (name, f"{name}/adam_m", f"{name}/adam_v"):
                writer.add(each, rng.normal(size=shape).astype("f4"))
        writer.add("global_step", np.array(1000))
    return tmp_path / "bert"


def test_bert(trained, tmp_path):
    rewrite(trained, tmp_path / "hf.safetensors", recipe="hf:bert")
    with tb.open(tmp_path / "hf.safetensors") as hf, tb.open(trained) as original:
        assert len(hf) == len(bert())
        np.testing.assert_array_equal(
            hf["bert.encoder.layer.11.output.dense.weight"],
            original["bert/encoder/layer_11/output/dense/kernel"].T,
        )
        for name, source in {
            "bert.embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings",
            "bert.embeddings.LayerNorm.weight": "bert/embeddings/LayerNorm/gamma",
            "bert.encoder.layer.0.attention.self.query.bias": "bert/encoder/layer_0/attention/self/query/bias",
            "cls.predictions.bias": "cls/predictions/output_bias",
            "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
        }.items():
            np.testing.assert_array_equal(hf[name], original[source])
    rewrite(tmp_path / "hf.safetensors", tmp_path / "back", recipe="tf:bert")
    with tb.open(tmp_path / "back") as back, tb.open(trained) as original:
        assert sorted(back) == sorted(bert())
        for name in back:
            np.testing.assert_array_equal(back[name], original[name])


def test_recipes(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(shipped_recipes())
    assert main(["recipes", "--show", "hf:bert"]) == 0
    assert "transpose" in tomllib.loads(capsys.readouterr().out)["steps"][1]


def test_a_recipe_that_is_none(trained, tmp_path, capsys):
    assert main(["rewrite", str(trained), str(tmp_path / "out"), "--recipe", "hf:bret"]) == 2
    assert "hf:bret: no such recipe; near: 'hf:bert'" in capsys.readouterr().err
