"""tfgan_app.base.receptive_field: how far a network sees, against where its gradients are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfgan_app as tg
from tfgan_app.base.receptive_field import receptive_radius

OWN = tg.layers


def network(*stack):
    source = keras.Input((None, None, 1), name="source")
    x = source
    for layer in stack:
        x = layer(x)
    return keras.Model(source, x)


def seen(model, side=48):
    """Returns the radius of what the pixels in the middle of an output depend on, for positive weights and images."""
    for variable in model.trainable_variables:
        variable.assign(tf.abs(variable) + 0.1)
    size = model.compute_output_shape((1, side, side, 1))[1]
    # Far from every border, and at every phase of strides and enlargements: along the diagonal, a pixel for each image.
    chosen = np.arange(size // 2 - 6, size // 2 + 6)
    images = tf.Variable(tf.random.stateless_uniform((len(chosen), side, side, 1), (1, 2), 0.5, 1.0))
    with tf.GradientTape() as tape:
        pixels = tf.gather_nd(model(images), [(index, pixel, pixel) for index, pixel in enumerate(chosen)])
    gradients = np.abs(tape.gradient(pixels, images).numpy()[..., 0])
    radius = 0
    for pixel, gradient in zip(chosen, gradients, strict=True):
        own = (2 * pixel + 1) * side // (2 * size)
        for axis in (0, 1):
            reached = np.flatnonzero(gradient.sum(axis))
            radius = max(radius, own - reached[0], reached[-1] - own)
    return radius


def conv(*size, **kwargs):
    return layers.Conv2D(2, size, **{"padding": "same", **kwargs})


def squeezed(x):
    return layers.Multiply()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)])


NETWORKS = {
    "a pixel": ([layers.Activation("linear")], 0),
    "1x1": ([conv(1, 1), layers.ReLU()], 0),
    "3x3": ([conv(3, 3), layers.LeakyReLU(), layers.BatchNormalization()], 1),
    "wide": ([conv(1, 7)], 3),
    "even": ([conv(4, 4)], 2),
    "dilated": ([conv(3, 3, dilation_rate=4), conv(3, 3)], 5),
    "strided": ([conv(4, 4, strides=2), conv(3, 3), layers.Conv2DTranspose(1, 4, 2, "same")], None),
    "strided thrice": ([*[conv(3, 3, strides=2) for _ in range(3)], layers.UpSampling2D(8)], None),
    "transposed, other sizes": ([conv(3, 3, strides=3), layers.Conv2DTranspose(1, 5, 3, "same")], None),
    "padded": ([layers.ZeroPadding2D(3), layers.Conv2D(1, 7)], 3),
    "unevenly padded": ([layers.ZeroPadding2D(((2, 0), (0, 2))), layers.Conv2D(1, 3)], 2),
    "cropped": ([layers.ZeroPadding2D(2), layers.Conv2D(1, 3), layers.Cropping2D(1)], 1),
    "pooled": ([layers.MaxPooling2D(2), conv(3, 3), layers.UpSampling2D(2)], 3),
    "averaged": ([layers.AveragePooling2D(3, 1, "same")], 1),
    "nearest": ([layers.UpSampling2D(2), conv(3, 3)], 1),
    "bilinear": ([layers.UpSampling2D(4, interpolation="bilinear")], 1),
    "bilinear by 3": ([layers.UpSampling2D(3, interpolation="bilinear")], 1),
    "bilinear of ours": ([conv(3, 3), OWN.BilinearUpsample(3), conv(3, 3)], None),
    "bicubic": ([layers.UpSampling2D(2, interpolation="bicubic")], 2),
    "pixel shuffle": ([conv(3, 3), layers.Conv2D(4, 1), OWN.PixelShuffle(2), conv(5, 5)], 2),
    "pixel unshuffle": ([OWN.PixelUnshuffle(4), conv(3, 3), layers.UpSampling2D(4)], 7),
    "mirrored": ([OWN.ReflectionPadding2D(3), layers.Conv2D(1, 7)], 3),
    "colours": ([lambda x: OWN.LabColour()([x, layers.Conv2D(2, 3, padding="same")(x)])], 1),
    "depthwise": ([layers.DepthwiseConv2D(5, padding="same")], 2),
    "separable": ([layers.SeparableConv2D(1, 3, padding="same")], 1),
    "slopes": ([conv(3, 3), OWN.PReLU(shared_axes=(1, 2))], 1),
    "nested": ([lambda x: network(conv(3, 3), conv(3, 3))(x), layers.Conv2D(1, 3, padding="same")], 3),
    "operators": ([lambda x: layers.Concatenate()([x, keras.ops.relu(conv(3, 3)(x)) * 2.0 + conv(1, 1)(x)])], 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_where_gradients_are(name):
    stack, expected = NETWORKS[name]
    model = network(*stack)
    radius = receptive_radius(model)
    assert radius == seen(model)
    assert expected is None or radius == expected


@pytest.mark.parametrize(
    "stack",
    [
        [squeezed],
        [layers.GroupNormalization(1)],
        [OWN.InstanceNormalization()],
        [layers.Lambda(lambda x: x - tf.reduce_mean(x))],
        [lambda x: keras.ops.flip(x, axis=1)],
        [lambda x: layers.Reshape((-1, 1, 1))(x)],
    ],
)
def test_what_sees_the_whole_picture_or_is_not_known_has_none(stack):
    assert receptive_radius(network(conv(3, 3), *stack)) is None


def test_labels_hold_everywhere():
    source, labels = keras.Input((None, None, 1)), keras.Input((), dtype="int32")
    scale = layers.Reshape((1, 1, 2))(layers.Embedding(3, 2)(labels))
    images = layers.Multiply()([conv(5, 5)(source), scale])
    model = keras.Model([source, labels], {"features": conv(9, 9)(images), "images": images})
    assert receptive_radius(model) == 2


def test_a_very_deep_network_is_followed():
    model = network(*[layers.Conv2D(1, 3, padding="same") for _ in range(400)])
    assert receptive_radius(model) == 400


def test_sequential_models_have_one_too():
    assert receptive_radius(keras.Sequential([keras.Input((None, None, 1)), conv(3, 3)])) == 1
