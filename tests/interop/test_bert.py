"""BERT, made small, from TF1 to Keras: with its optimizer's slots, and training goes on with the same losses.

The names of the variables are those of the published checkpoints, the optimizer is theirs: Adam without the correction of
bias, with weight decay, for which Keras has AdamW. After a million steps there is nothing left to correct.
"""

import numpy as np
import pytest

from support.keras import keras
from support.tensorflow import tf, tf1, their_reading
from tensorbundle.tools import convert
from tensorbundle.tools.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own

VOCABULARY, HIDDEN, HEADS, INNER, LENGTH, LAYERS = 31, 8, 2, 16, 6, 2
RATE, DECAY, BETA_1, BETA_2, EPSILON = 1e-2, 0.01, 0.9, 0.999, 1e-6
STEPS = 1_000_000
RANDOM = np.random.default_rng(11)
TOKENS = RANDOM.integers(0, VOCABULARY, (4, LENGTH))
SEGMENTS = RANDOM.integers(0, 2, (4, LENGTH))
LABELS = RANDOM.integers(0, VOCABULARY, (4, LENGTH))
NEXT = RANDOM.integers(0, 2, 4)


def shapes():
    """Every variable of the pre-training model."""
    dense = {"kernel": [HIDDEN, HIDDEN], "bias": [HIDDEN]}
    norm = {"gamma": [HIDDEN], "beta": [HIDDEN]}
    found = {
        "bert/embeddings": {
            "word_embeddings": [VOCABULARY, HIDDEN],
            "token_type_embeddings": [2, HIDDEN],
            "position_embeddings": [LENGTH, HIDDEN],
        },
        "bert/embeddings/LayerNorm": norm,
    }
    for number in range(LAYERS):
        layer = f"bert/encoder/layer_{number}"
        found |= {f"{layer}/attention/self/{name}": dense for name in ("query", "key", "value")}
        found |= {f"{layer}/attention/output/dense": dense, f"{layer}/attention/output/LayerNorm": norm}
        found[f"{layer}/intermediate/dense"] = {"kernel": [HIDDEN, INNER], "bias": [INNER]}
        found |= {
            f"{layer}/output/dense": {"kernel": [INNER, HIDDEN], "bias": [HIDDEN]},
            f"{layer}/output/LayerNorm": norm,
        }
    found |= {"bert/pooler/dense": dense, "cls/predictions": {"output_bias": [VOCABULARY]}}
    found |= {"cls/predictions/transform/dense": dense, "cls/predictions/transform/LayerNorm": norm}
    found["cls/seq_relationship"] = {"output_weights": [2, HIDDEN], "output_bias": [2]}
    return {f"{scope}/{name}": shape for scope, inner in found.items() for name, shape in inner.items()}


SHAPES = shapes()


def loss_of(weights):
    """The loss of pre-training: of the masked tokens, here all of them, and of the next sentence."""

    def dense(inputs, scope):
        return inputs @ weights[f"{scope}/kernel"] + weights[f"{scope}/bias"]

    def normalized(inputs, scope):
        mean, variance = tf.nn.moments(inputs, [-1], keepdims=True)
        scaled = (inputs - mean) * tf.math.rsqrt(variance + 1e-12)
        return scaled * weights[f"{scope}/gamma"] + weights[f"{scope}/beta"]

    def heads(values):
        return tf.transpose(tf.reshape(values, [-1, LENGTH, HEADS, HIDDEN // HEADS]), [0, 2, 1, 3])

    words = weights["bert/embeddings/word_embeddings"]
    hidden = tf.gather(words, TOKENS) + tf.gather(weights["bert/embeddings/token_type_embeddings"], SEGMENTS)
    hidden = normalized(hidden + weights["bert/embeddings/position_embeddings"], "bert/embeddings/LayerNorm")
    for number in range(LAYERS):
        layer = f"bert/encoder/layer_{number}"
        query, key, value = (
            heads(dense(hidden, f"{layer}/attention/self/{name}")) for name in ("query", "key", "value")
        )
        scores = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) / (HIDDEN / HEADS) ** 0.5)
        context = tf.reshape(tf.transpose(scores @ value, [0, 2, 1, 3]), [-1, LENGTH, HIDDEN])
        attended = dense(context, f"{layer}/attention/output/dense")
        hidden = normalized(hidden + attended, f"{layer}/attention/output/LayerNorm")
        inner = tf.nn.gelu(dense(hidden, f"{layer}/intermediate/dense"))
        hidden = normalized(hidden + dense(inner, f"{layer}/output/dense"), f"{layer}/output/LayerNorm")
    pooled = tf.tanh(dense(hidden[:, 0], "bert/pooler/dense"))
    transformed = tf.nn.gelu(dense(hidden, "cls/predictions/transform/dense"))
    transformed = normalized(transformed, "cls/predictions/transform/LayerNorm")
    logits = tf.matmul(transformed, words, transpose_b=True) + weights["cls/predictions/output_bias"]
    follows = tf.matmul(pooled, weights["cls/seq_relationship/output_weights"], transpose_b=True)
    follows += weights["cls/seq_relationship/output_bias"]
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    return tf.reduce_mean(cross_entropy(LABELS, logits)) + tf.reduce_mean(cross_entropy(NEXT, follows))


def is_decayed(name):
    return not any(part in name for part in ("LayerNorm", "layer_norm", "bias"))


def clipped(gradients):
    return tf.clip_by_global_norm(list(map(tf.convert_to_tensor, gradients)), 1.0)[0]


def tf1_run(prefix, steps, restored=None):
    """Train in graph mode with the optimizer of the BERT code, save, and return the losses."""
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.set_random_seed(7)
        initializer = tf1.truncated_normal_initializer(stddev=0.2)
        weights = {
            name: tf1.get_variable(name, shape, initializer=initializer) for name, shape in SHAPES.items()
        }
        loss = loss_of(weights)
        step = tf1.train.get_or_create_global_step()
        updates = [step.assign_add(1)]
        gradients = clipped(tf1.gradients(loss, list(weights.values())))
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            mean, square = (
                tf1.get_variable(
                    f"{name}/{slot}", SHAPES[name], trainable=False, initializer=tf1.zeros_initializer()
                )
                for slot in ("adam_m", "adam_v")
            )
            next_mean = BETA_1 * mean + (1 - BETA_1) * gradient
            next_square = BETA_2 * square + (1 - BETA_2) * gradient**2
            update = next_mean / (tf.sqrt(next_square) + EPSILON)
            update += DECAY * weight if is_decayed(name) else 0.0
            updates += [
                weight.assign(weight - RATE * update),
                mean.assign(next_mean),
                square.assign(next_square),
            ]
        saver = tf1.train.Saver()
        if restored is None:
            session.run(tf1.global_variables_initializer())
            session.run(step.assign(STEPS))
        else:
            saver.restore(session, str(restored))
        update = tf.group(*updates)
        losses = [session.run([loss, update])[0] for _ in range(steps)]
        saver.save(session, str(prefix), write_meta_graph=False)
        return losses


def model_of(module):
    """The same in Keras, with its layers."""
    layers = module.layers

    def norm(name):
        return layers.LayerNormalization(epsilon=1e-12, name=name)

    class Encoder(layers.Layer):
        def __init__(self, name):
            super().__init__(name=name)
            self.query, self.key, self.value = (
                layers.Dense(HIDDEN, name=each) for each in ("query", "key", "value")
            )
            self.attention_dense, self.attention_norm = (
                layers.Dense(HIDDEN, name="attention_dense"),
                norm("attention_norm"),
            )
            self.inner = layers.Dense(INNER, tf.nn.gelu, name="inner")
            self.outer, self.outer_norm = layers.Dense(HIDDEN, name="outer"), norm("outer_norm")

        def call(self, hidden):
            heads = [
                tf.transpose(tf.reshape(each(hidden), [-1, LENGTH, HEADS, HIDDEN // HEADS]), [0, 2, 1, 3])
                for each in (self.query, self.key, self.value)
            ]
            scores = tf.nn.softmax(tf.matmul(*heads[:2], transpose_b=True) / (HIDDEN / HEADS) ** 0.5)
            context = tf.reshape(tf.transpose(scores @ heads[2], [0, 2, 1, 3]), [-1, LENGTH, HIDDEN])
            hidden = self.attention_norm(hidden + self.attention_dense(context))
            return self.outer_norm(hidden + self.outer(self.inner(hidden)))

    class Bert(module.Model):
        def __init__(self):
            super().__init__(name="net")
            self.words = layers.Embedding(VOCABULARY, HIDDEN, name="words")
            self.segments = layers.Embedding(2, HIDDEN, name="segments")
            self.places = layers.Embedding(LENGTH, HIDDEN, name="places")
            self.norm = norm("norm")
            self.layer_0, self.layer_1 = Encoder("layer_0"), Encoder("layer_1")
            self.pooler = layers.Dense(HIDDEN, tf.tanh, name="pooler")
            self.transform = layers.Dense(HIDDEN, tf.nn.gelu, name="transform")
            self.transform_norm = norm("transform_norm")
            self.word_bias = self.add_weight(shape=[VOCABULARY], name="word_bias")
            self.follows = self.add_weight(shape=[2, HIDDEN], name="follows")
            self.follows_bias = self.add_weight(shape=[2], name="follows_bias")

        def call(self, tokens):
            hidden = self.norm(self.words(tokens) + self.segments(SEGMENTS) + self.places(np.arange(LENGTH)))
            hidden = self.layer_1(self.layer_0(hidden))
            words = self.transform_norm(self.transform(hidden))
            table = tf.convert_to_tensor(self.words.embeddings)
            logits = tf.matmul(words, table, transpose_b=True) + self.word_bias
            return logits, tf.matmul(
                self.pooler(hidden[:, 0]), self.follows, transpose_b=True
            ) + self.follows_bias

    return Bert()


def build(number):
    """The model and the optimizer, with all their variables, and the checkpoint of both."""
    module = keras(number)
    model = model_of(module)
    model(TOKENS)
    optimizer = module.optimizers.AdamW(RATE, weight_decay=DECAY, epsilon=EPSILON)
    optimizer.exclude_from_weight_decay(var_names=["bias", "norm", "beta", "gamma"])
    optimizer.build(model.trainable_variables)
    return model, optimizer, tf.train.Checkpoint(model=model, optimizer=optimizer)


def train(model, optimizer, steps):
    losses = []
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    for _ in range(steps):
        with tf.GradientTape() as tape:
            words, follows = model(TOKENS)
            loss = tf.reduce_mean(cross_entropy(LABELS, words)) + tf.reduce_mean(cross_entropy(NEXT, follows))
        gradients = clipped(tape.gradient(loss, model.trainable_variables))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        losses.append(float(loss))
    return losses


# From names of the published checkpoints to objects of the model; Keras 3 calls some of its attributes otherwise.
RULES = """
bert/embeddings/word_embeddings=model/words/{_}embeddings
bert/embeddings/token_type_embeddings=model/segments/{_}embeddings
bert/embeddings/position_embeddings=model/places/{_}embeddings
bert/embeddings/LayerNorm/*=model/norm/*
# a '*' for the number of the layer, and one for what is left
bert/encoder/layer_*/attention/self/*/kernel=model/layer_*/*/{_}kernel
bert/encoder/layer_*/attention/self/*/bias=model/layer_*/*/bias
bert/encoder/layer_*/attention/output/dense/kernel=model/layer_*/attention_dense/{_}kernel
bert/encoder/layer_*/attention/output/dense/bias=model/layer_*/attention_dense/bias
bert/encoder/layer_*/attention/output/LayerNorm/*=model/layer_*/attention_norm/*
bert/encoder/layer_*/intermediate/dense/kernel=model/layer_*/inner/{_}kernel
bert/encoder/layer_*/intermediate/dense/bias=model/layer_*/inner/bias
bert/encoder/layer_*/output/dense/kernel=model/layer_*/outer/{_}kernel
bert/encoder/layer_*/output/dense/bias=model/layer_*/outer/bias
bert/encoder/layer_*/output/LayerNorm/*=model/layer_*/outer_norm/*
bert/pooler/dense/kernel=model/pooler/{_}kernel
bert/pooler/dense/bias=model/pooler/bias
cls/predictions/transform/dense/kernel=model/transform/{_}kernel
cls/predictions/transform/dense/bias=model/transform/bias
cls/predictions/transform/LayerNorm/*=model/transform_norm/*
cls/predictions/output_bias=model/word_bias
cls/seq_relationship/output_weights=model/follows
cls/seq_relationship/output_bias=model/follows_bias
"""


@pytest.fixture(scope="module")
def tf1_checkpoint(tmp_path_factory):
    """A checkpoint after three steps, and the losses of the next five."""
    prefix = tmp_path_factory.mktemp("tf1") / "model.ckpt"
    tf1_run(prefix, 3)
    return prefix, tf1_run(f"{prefix}-later", 5, restored=prefix)


@pytest.mark.parametrize("number", [2, 3])
def test_training_goes_on(number, tf1_checkpoint, tmp_path):
    """Every variable, both slots of each and the number of steps arrive; the next losses are those of TF1.

    And what comes back into the names of BERT is what was there.
    """
    source, expected = tf1_checkpoint
    fresh = build(number)[2].save(str(tmp_path / "fresh"))
    text = RULES.replace("{_}", "" if number == 2 else "_")
    (tmp_path / "rules").write_text(text)
    arguments = ["convert", source, tmp_path / "tf2-1", "--to", "tf2", "--template", fresh]
    assert main([str(each) for each in [*arguments, "--map", tmp_path / "rules"]]) == 0
    model, optimizer, checkpoint = build(number)
    checkpoint.restore(str(tmp_path / "tf2-1")).assert_consumed()
    assert int(optimizer.iterations) == STEPS + 3
    losses = train(model, optimizer, 5)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert expected[-1] < expected[0] - 0.1

    # The first rule that fits decides, and the first of these are too general the other way round.
    back = [line.split("=")[::-1] for line in reversed(text.splitlines()) if "=" in line]
    convert(tmp_path / "tf2-1", tmp_path / "back", to="tf1", template=f"{source}-later", map=dict(back))
    assert their_reading(tmp_path / "back") == their_reading(source)
