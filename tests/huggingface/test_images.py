"""transformers loads what recipes make of image models, and computes what their TensorFlow code would, here in PyTorch."""

import json
import os

import numpy as np
import pytest

import tensorbundle as tb
from support.published import EXPANDED, IMAGE_MODELS, STAGES, TOP
from tensorbundle.tools import TransferOptions, diff, rewrite

if os.environ.get("TENSORBUNDLE_REQUIRE_TRANSFORMERS"):
    import torch
    import transformers
else:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

functional = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
IMAGES = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("f4")
STRIDES_V1 = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
STRIDES_V2 = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


class Weights(dict):
    """The tensors of a checkpoint, and the layers of TensorFlow."""

    def convolution(self, name, inputs, stride=1, bias=None):
        """With TensorFlow's padding "SAME"."""
        kernel = self[name]
        is_depthwise = "depthwise" in name.rpartition("/")[2]
        kernel = kernel.permute(2, 3, 0, 1) if is_depthwise else kernel.permute(3, 2, 0, 1)
        height, size = inputs.shape[-1], kernel.shape[-1]
        total = max((-(-height // stride) - 1) * stride + size - height, 0)
        before, after = total // 2, total - total // 2
        padded = functional.pad(inputs, (before, after, before, after))
        groups = inputs.shape[1] if is_depthwise else 1
        return functional.conv2d(padded, kernel, None if bias is None else self[bias], stride, groups=groups)

    def norm(self, scope, inputs, epsilon=1e-3):
        names = ("moving_mean", "moving_variance", "gamma", "beta")
        mean, variance, gamma, beta = (self[f"{scope}/{each}"][:, None, None] for each in names)
        return (inputs - mean) / torch.sqrt(variance + epsilon) * gamma + beta

    def slim(self, scope, inputs, stride=1, kernel="weights"):
        """A convolution of TF-Slim, with batch normalization."""
        return self.norm(f"{scope}/BatchNorm", self.convolution(f"{scope}/{kernel}", inputs, stride))


def efficientnet(weights, images):
    def normed(convolution, norm, inputs, stride=1):
        return weights.norm(norm, weights.convolution(convolution, inputs, stride))

    silu = functional.silu
    hidden = silu(normed("stem_conv/kernel", "stem_bn", images, 2))
    for stage, (repeats, _, _, _, is_expanded, first_stride) in enumerate(STAGES, 1):
        for number in range(repeats):
            block, inputs = f"block{stage}{'abcd'[number]}", hidden
            if is_expanded:
                hidden = silu(normed(f"{block}_expand_conv/kernel", f"{block}_expand_bn", hidden))
            stride = 1 if number else first_stride
            hidden = silu(normed(f"{block}_dwconv/depthwise_kernel", f"{block}_bn", hidden, stride))
            mean = hidden.mean((2, 3), keepdim=True)
            reduced = weights.convolution(f"{block}_se_reduce/kernel", mean, bias=f"{block}_se_reduce/bias")
            gate = weights.convolution(
                f"{block}_se_expand/kernel", silu(reduced), bias=f"{block}_se_expand/bias"
            )
            hidden = normed(
                f"{block}_project_conv/kernel", f"{block}_project_bn", hidden * torch.sigmoid(gate)
            )
            hidden = hidden + inputs if number else hidden
    hidden = silu(normed("top_conv/kernel", "top_bn", hidden))
    return hidden.mean((2, 3)) @ weights["predictions/kernel"] + weights["predictions/bias"]


def mobilenet_v1(weights, images):
    scope, relu = "FeatureExtractor/MobilenetV1", functional.relu6
    hidden = relu(weights.slim(f"{scope}/Conv2d_0", images, 2))
    for number, stride in enumerate(STRIDES_V1, 1):
        hidden = relu(weights.slim(f"{scope}/Conv2d_{number}_depthwise", hidden, stride, "depthwise_weights"))
        hidden = relu(weights.slim(f"{scope}/Conv2d_{number}_pointwise", hidden))
    return hidden


def mobilenet_v2(weights, images):
    scope, relu = "FeatureExtractor/MobilenetV2", functional.relu6
    hidden = relu(weights.slim(f"{scope}/Conv", images, 2))
    for number, stride in enumerate(STRIDES_V2):
        inputs = hidden
        layer = f"{scope}/expanded_conv_{number}" if number else f"{scope}/expanded_conv"
        if number:
            hidden = relu(weights.slim(f"{layer}/expand", hidden))
        hidden = relu(weights.slim(f"{layer}/depthwise", hidden, stride, "depthwise_weights"))
        hidden = weights.slim(f"{layer}/project", hidden)
        hidden = hidden + inputs if number and inputs.shape == hidden.shape else hidden
    return relu(weights.slim(f"{scope}/Conv_1", hidden))


WIDTH = 1 / 4  # of EfficientNet: its first layer has 8 channels
CASES = {
    "efficientnet-b0": (
        efficientnet,
        "EfficientNetForImageClassification",
        {
            "model_type": "efficientnet",
            "width_coefficient": WIDTH,
            "depth_coefficient": 1.0,
            "hidden_dim": TOP,
            "in_channels": [int(stage[2] / WIDTH) for stage in STAGES],
            "out_channels": [int(stage[3] / WIDTH) for stage in STAGES],
            "num_labels": 3,
        },
    ),
    "ssd-mobilenet-v1": (
        mobilenet_v1,
        "MobileNetV1Model",
        {"model_type": "mobilenet_v1", "depth_multiplier": 1 / 8, "min_depth": 8},
    ),
    "ssd-mobilenet-v2": (
        mobilenet_v2,
        "MobileNetV2Model",
        {
            "model_type": "mobilenet_v2",
            "depth_multiplier": 1 / 8,
            "expand_ratio": EXPANDED,
            "finegrained_output": False,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_transformers_computes_the_same(name, tmp_path):
    compute, kind, config = CASES[name]
    rng = np.random.default_rng(1)
    weights = Weights()
    with tb.create(tmp_path / "ckpt") as writer:
        for key, shape in IMAGE_MODELS[name]().items():
            scale = 1 / np.sqrt(max(1, np.prod(shape[:-1])))
            values = (
                np.abs(rng.normal(size=shape)) if key.endswith("variance") else rng.normal(0, scale, shape)
            )
            writer.add(key, values.astype("f4"))
            weights[key] = torch.tensor(values.astype("f4"))
    folder = tmp_path / "hf"
    folder.mkdir()
    rewrite(
        tmp_path / "ckpt",
        folder / "model.safetensors",
        recipe=f"hf:{name}",
        options=TransferOptions(metadata={"format": "pt"}),
    )
    assert diff(tmp_path / "ckpt", folder / "model.safetensors", recipe=f"hf:{name}").equal
    (folder / "config.json").write_text(json.dumps(config))
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not [each for each in report["missing_keys"] if "num_batches_tracked" not in each], report
    others = {each.split(".")[0] for each in report["unexpected_keys"]}
    assert others <= {"normalization", "FeatureExtractor", *(f"BoxPredictor_{number}" for number in range(3))}
    with torch.no_grad():
        out = model.eval()(pixel_values=torch.tensor(IMAGES), return_dict=True)
        expected = compute(weights, torch.tensor(IMAGES))
    found = out.logits if "logits" in out else out.last_hidden_state
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-5)
    assert expected.abs().mean() > 0.01
