import pytest

from tensorbundle.tools.keras.naming import Numbering, snake_case, walk_order

# What `keras.src.utils.naming.to_snake_case` of Keras 3.15 returns.
NAMES = {
    "Dense": "dense",
    "Conv2D": "conv2d",
    "Conv2DTranspose": "conv2d_transpose",
    "DepthwiseConv2D": "depthwise_conv2d",
    "GRUCell": "gru_cell",
    "LSTM": "lstm",
    "PReLU": "p_re_lu",
    "ReLU6": "re_lu6",
    "MultiHeadAttention": "multi_head_attention",
    "GlobalAveragePooling1D": "global_average_pooling1d",
    "StackedRNNCells": "stacked_rnn_cells",
    "RMSNormalization": "rms_normalization",
    "TFDense": "tf_dense",
    "BERTEncoder": "bert_encoder",
    "LayerNorm1D": "layer_norm1d",
    "Up_Block": "up__block",
    "_Private": "__private",
    "Model2": "model2",
}


@pytest.mark.parametrize(("class_name", "snake"), NAMES.items())
def test_snake_case(class_name, snake):
    assert snake_case(class_name) == snake


def test_numbers_count_by_class():
    numbering = Numbering()
    assert [numbering.name(each) for each in ("dense", "dropout", "dense", "dense", "dropout")] == [
        "dense",
        "dropout",
        "dense_1",
        "dense_2",
        "dropout_1",
    ]


def test_private_attributes_are_walked_last():
    assert sorted(["b", "_a", "Z", "a"], key=walk_order) == ["Z", "a", "b", "_a"]
