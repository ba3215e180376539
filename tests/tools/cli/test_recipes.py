import re
import tomllib

import numpy as np
import pytest

import tensorbundle as tb
from support.published import IMAGE_MODELS, MODELS, bert
from tensorbundle.tools import diff, rewrite
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.steps.recipe import shipped_recipes


@pytest.fixture
def trained(tmp_path):
    rng = np.random.default_rng(0)
    with tb.create(tmp_path / "bert") as writer:
        for name, shape in bert((0, 11)).items():
            for each in (name, f"{name}/adam_m", f"{name}/adam_v"):
                writer.add(each, rng.normal(size=shape).astype("f4"))
        writer.add("global_step", np.array(1000))
    return tmp_path / "bert"


def test_bert(trained, tmp_path):
    rewrite(trained, tmp_path / "hf.safetensors", recipe="hf:bert")
    with tb.open(tmp_path / "hf.safetensors") as hf, tb.open(trained) as original:
        assert len(hf) == len(bert((0, 11)))
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
        assert sorted(back) == sorted(bert((0, 11)))
        for name in back:
            np.testing.assert_array_equal(back[name], original[name])


def test_recipes(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(shipped_recipes())
    for recipe in shipped_recipes().values():
        assert set(re.findall(r"`([a-z0-9]+[-:][^`]+)`", recipe.read_text("utf-8"))) <= set(shipped_recipes())
    assert main(["recipes", "--show", "hf:bert"]) == 0
    assert "transpose" in tomllib.loads(capsys.readouterr().out)["steps"][1]


def test_a_recipe_that_is_none(trained, tmp_path, capsys):
    assert main(["rewrite", str(trained), str(tmp_path / "out"), "--recipe", "hf:bret"]) == 2
    assert "hf:bret: no such recipe; near: 'hf:bert'" in capsys.readouterr().err


STATE = {
    "albert": ["{}/lamb_m", "{}/lamb_v"],
    "bert": ["{}/adam_m", "{}/adam_v"],
    "electra": ["{}/adam_m", "{}/adam_v"],
    "gpt2": ["{}/Adam", "{}/Adam_1"],
    "t5": ["{}_slot_v", "{}_slot_vr"],
    "t5-1.0": ["{}_slot_vc"],
}
NAMES = {
    "albert": ["albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight", "predictions.bias"],
    "bert": ["bert.pooler.dense.weight"],
    "electra": ["discriminator_predictions.dense_prediction.weight"],
    "gpt2": ["transformer.h.11.attn.c_attn.weight"],
    "t5": ["decoder.block.11.layer.1.EncDecAttention.q.weight", "encoder.final_layer_norm.weight"],
    "t5-1.0": ["decoder.block.11.layer.2.DenseReluDense.wi.weight", "shared.weight"],
}


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back_are_the_same_bytes(model, tmp_path):
    """Optimizer state and the step are left out; everything else comes back as it was."""
    rng = np.random.default_rng(0)
    shapes = MODELS[model]((0, 11))
    with tb.create(tmp_path / "plain") as plain, tb.create(tmp_path / "trained") as trained:
        for name, shape in shapes.items():
            values = rng.normal(size=shape).astype("f4")
            plain.add(name, values)
            for each in (name, *(state.format(name) for state in STATE[model])):
                trained.add(each, values)
        trained.add("global_step", np.array(7))
    rewrite(tmp_path / "trained", tmp_path / "hf.safetensors", recipe=f"hf:{model}")
    with tb.open(tmp_path / "hf.safetensors") as hf:
        assert len(hf) == len(shapes)
        assert set(NAMES[model]) <= hf.keys()
        assert not [name for name in hf if "/" in name]
    assert diff(tmp_path / "trained", tmp_path / "hf.safetensors", recipe=f"hf:{model}").equal
    rewrite(tmp_path / "hf.safetensors", tmp_path / "back", recipe=f"tf:{model}")
    assert diff(tmp_path / "hf.safetensors", tmp_path / "plain", recipe=[f"tf:{model}"]).equal
    changes = diff(tmp_path / "plain", tmp_path / "back").differences
    assert {each.change for each in changes} == {"same"}


NAMES_OF_IMAGE_MODELS = {
    "efficientnet-b0": [
        "efficientnet.encoder.blocks.15.depthwise_conv.depthwise_norm.running_var",
        "classifier.weight",
    ],
    "resnet-v2-50": ["conv2_block1_0_conv/kernel", "conv5_block3_preact_bn/gamma", "predictions/kernel"],
    "ssd-mobilenet-v1": ["layer.25.convolution.weight", "BoxPredictor_2.ClassPredictor.bias"],
    "ssd-mobilenet-v2": ["conv_stem.conv_3x3.convolution.weight", "layer.15.reduce_1x1.normalization.bias"],
}
OTHER_SIZES = [name for name in IMAGE_MODELS if name not in NAMES_OF_IMAGE_MODELS]


@pytest.mark.parametrize(
    "model", [*NAMES_OF_IMAGE_MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHER_SIZES)]
)
def test_image_models_there_and_back(model, tmp_path):
    """Also the state of their optimizers and averages are left out."""
    rng = np.random.default_rng(0)
    with tb.create(tmp_path / "plain") as plain, tb.create(tmp_path / "trained") as trained:
        for name, shape in IMAGE_MODELS[model]().items():
            values = rng.normal(size=shape).astype("f4")
            plain.add(name, values)
            trained.add(name, values)
            if not model.startswith(
                "efficientnet"
            ):  # Keras does not store its optimizer's state by such names
                trained.add(f"{name}/ExponentialMovingAverage", values)
        trained.add("global_step", np.array(7))
    way = "keras" if model.startswith("resnet") else "hf"
    rewrite(tmp_path / "trained", tmp_path / "there.safetensors", recipe=f"{way}:{model}")
    with tb.open(tmp_path / "there.safetensors") as there:
        assert set(NAMES_OF_IMAGE_MODELS.get(model, ())) <= there.keys()
        assert not [name for name in there if name.count("/") != (way == "keras")]
    assert diff(tmp_path / "trained", tmp_path / "there.safetensors", recipe=f"{way}:{model}").equal
    rewrite(tmp_path / "there.safetensors", tmp_path / "back", recipe=f"tf:{model}")
    changes = diff(tmp_path / "plain", tmp_path / "back").differences
    assert {each.change for each in changes} == {"same"}


def test_names_of_a_legacy_file_of_keras(tmp_path):
    layers = {name: np.zeros(shape, "f4") for name, shape in IMAGE_MODELS["efficientnet-b0"]().items()}
    with tb.create(tmp_path / "names") as names, tb.create(tmp_path / "legacy") as legacy:
        for name, values in layers.items():
            names.add(name, values)
            legacy.add(f"{name.partition('/')[0]}/{name}:0", values)
    for each in ("names", "legacy"):
        rewrite(tmp_path / each, tmp_path / f"{each}.safetensors", recipe="hf:efficientnet-b0")
    assert (tmp_path / "names.safetensors").read_bytes() == (tmp_path / "legacy.safetensors").read_bytes()


def test_every_recipe_has_a_way_back_and_a_model():
    ways = {model: "keras" if model.startswith("resnet") else "hf" for model in (*MODELS, *IMAGE_MODELS)}
    expected = sorted(f"{way}:{model}" for model, there in ways.items() for way in (there, "tf"))
    assert sorted(shipped_recipes()) == expected
