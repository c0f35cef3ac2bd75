"""What a trained translator can do, whatever it is: a GAN that makes pictures of pictures, or a SavedModel of one."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfgan_app.conditions import Classes
from tfgan_app.modalities import Modality
from tfgan_app.modalities.modality import Array
from tfgan_app.sampler import Signatures
from tfgan_app.tiling import tiled

__all__ = ["Translator", "pad_to_multiple"]

# Pixels of small pictures' results that are computed at once.
_TOGETHER = 2**18


class Translator:
    """Base of what makes pictures of pictures of any size.

    Subclasses set the attributes and define `forward`. Pictures come in two forms: in the network's range, to compute
    with (`forward`), and decoded, in [0, 1], for people (`translate`).

    Attributes:
        data: What it learns from in batches of two: pairs of a source and its target, two sides that share no pair, or
            images with labels.
        source: What it is given, with the shape that it was trained on.
        target: What it makes of that.
        scale: Pixels of the target's side for each of the source's.
        multiple: What the sides of a source must be multiples of. Others are continued by their mirror image at the
            bottom and on the right, and the result is cropped.
        radius: How far in pixels of the source an output sees; None where it sees the whole picture, as networks with
            normalisation over it or a bottleneck do.
        ways: What it can be asked by name, as exported signatures are called. The first is meant by default.
        draws: Whether results go by a seed.
        num_classes: The number of domains of one that is told which to translate to, else None.
        class_names: What they are called.
        multi_label: Whether labels are rows of attributes, 0 or 1 each, rather than one domain.
        keeps_colours: Whether a target has the colours of its source, whatever its scale, so that what comes of a grey
            picture is to be grey.
        whole: Pixels of a result that are computed at once, unless it is said otherwise: a network of 64 channels takes
            about 1.3 GB for two million. Larger ones are computed in tiles of half as many.
        tileable: Whether parts of a picture may be translated apart; not by networks that bring it to a size of their
            own, which are given the whole of it, however large.
    """

    data: Literal["pairs", "sides", "labelled"] = "pairs"
    source: Modality
    target: Modality
    scale: int = 1
    multiple: int = 1
    radius: int | None = None
    ways: tuple[str, ...] = ("translate",)
    draws: bool = False
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    multi_label: bool = False
    keeps_colours: bool = False
    whole: int = 2**21
    tileable: bool = True

    def forward(
        self, sources: tf.Tensor, way: str = "translate", seed: tf.Tensor | None = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the translations of a batch, both in the network's range.

        Args:
            sources: `(batch, height, width, channels)`, the sides multiples of `multiple`.
            way: One of `ways`.
            seed: An int64 tensor of two elements, for one that draws.
            labels: int32 `(batch,)`, for one that is told the domain.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `forward`.")

    def modality_of(self, way: str, side: str) -> Modality:
        """Returns what a way takes (`side="source"`) or makes (`"target"`); here the same for all ways.

        `translate_back` goes from the target to the source.
        """
        back = way == "translate_back"
        return self.target if (side == "target") != back else self.source

    def translate(
        self,
        images: npt.ArrayLike,
        *,
        seed: int | None = 0,
        labels: npt.ArrayLike | None = None,
        way: str = "translate",
        tile: int | None = None,
    ) -> np.ndarray:
        """Translates pictures.

        Args:
            images: `(num, height, width, channels)` of any height and width, float in [0, 1] or uint8.
            seed: Equal seeds give equal results, whatever else is in the batch; None for a translator's mean, without
                what it draws. It matters for those that draw, such as Pix2Pix with its dropout.
            labels: Domains `(num,)` to translate to, as integers or by name, of one that is told them.
            way: One of `ways`: `translate`, or `translate_back`.
            tile: Side of the overlapping tiles, in pixels of the source, that large pictures are computed in. 0: all
                are computed whole. None: those of more than `whole` pixels of the result, two million by default, in
                tiles of half as many. Where the `radius` is known and at most half a tile, and nothing is drawn, tiles
                give the same as the whole; otherwise they give way to each other smoothly, see `tfgan_app.tiling`.

        Returns:
            A float32 array `(num, scale * height, scale * width, channels)` in [0, 1].

        Raises:
            ValueError: For images of another shape, labels that do not fit, or a way that there is not.
        """
        self._check_way(way)
        pictures, chosen = self._checked_images(images, way), None
        if labels is not None or self.num_classes is not None:
            chosen = self._checked_labels(labels, len(pictures))
        modality, (height, width) = self.modality_of(way, "target"), pictures.shape[1:3]
        shape = (self.scale * height, self.scale * width, modality.shape[-1])
        results = [np.zeros((0, *shape), np.float32)]
        size = 1 if tile else max(1, _TOGETHER // (shape[0] * shape[1]))
        for start in range(0, len(pictures), size):
            part = pictures[start : start + size]
            label = None if chosen is None else chosen[start : start + size]
            if size == 1:
                bands = list(self.bands(part[0], seed=seed, labels=label, way=way, tile=tile))
                outputs = np.concatenate(bands)[None]
            else:
                sources = self.modality_of(way, "source").encode(part)
                outputs = self._any_size(sources, way, self._extra(seed, label))
            results.append(np.asarray(modality.decode(outputs)))
        return np.concatenate(results)

    def bands(
        self,
        image: np.ndarray,
        *,
        seed: int | None = 0,
        labels: npt.ArrayLike | None = None,
        way: str = "translate",
        tile: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Translates one picture in the memory of a row of tiles.

        Args:
            image: `(height, width, channels)`, float in [0, 1] or uint8.
            seed: As in `translate`.
            labels: `(1,)`, otherwise as in `translate`.
            way: As in `translate`.
            tile: As in `translate`.

        Yields:
            Float32 arrays `(rows, scale * width, channels)` in the network's range, from top to bottom.

        Raises:
            ValueError: As in `translate`.
        """
        self._check_way(way)
        image = self._checked_images(np.asarray(image)[None], way)[0]
        chosen = None
        if labels is not None or self.num_classes is not None:
            chosen = self._checked_labels(labels, 1)
        extra = self._extra(seed, chosen)
        encode, (height, width, _) = self.modality_of(way, "source").encode, image.shape
        if tile == 0 or not self.tileable or (tile is None and self.scale**2 * height * width <= self.whole):
            yield np.asarray(self._any_size(encode(image[None]), way, extra))[0]
            return
        padded = image if self.multiple == 1 else np.asarray(pad_to_multiple(image[None], self.multiple))[0]
        bands = tiled(
            lambda part: np.asarray(self._forward(encode(part), way, extra)),
            padded,
            tile=tile or -(-math.isqrt(self.whole // 2) // self.scale),
            scale=self.scale,
            multiple=self.multiple,
            radius=self.radius,
        )
        left = self.scale * height
        for band in bands:
            yield band[:left, : self.scale * width]
            left -= min(left, len(band))

    def _extra(self, seed, labels):
        """Returns what `forward` is given besides sources and way."""
        extra: dict[str, Any] = {}
        if self.draws:
            extra["seed"] = tf.constant([-1 if seed is None else seed, 0], tf.int64)
        if labels is not None:
            extra["labels"] = tf.constant(labels)
        return extra

    def _check_way(self, way):
        if way not in self.ways:
            raise ValueError(f"`way` must be one of {', '.join(self.ways)}. Received: way={way}")

    def _checked_images(self, images, way):
        channels, images = self.modality_of(way, "source").shape[-1], np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != channels or 0 in images.shape[1:3]:
            raise ValueError(f"`images` must have the shape (num, height, width, {channels}). Received: {images.shape}")
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ValueError(f"`images` must be uint8, or float in [0, 1]. Received: {images.dtype}")
        return images

    def _checked_labels(self, labels, num):
        if self.num_classes is None:
            raise ValueError(f"{type(self).__name__} takes no labels. Received: labels={labels}")
        return self.checked_labels(labels, num)

    def checked_labels(self, labels: npt.ArrayLike | None, num: int) -> np.ndarray:
        """Returns the labels that `translate` was given for `num` pictures as `forward` takes them.

        Raises:
            ValueError: If they do not fit.
        """
        if not self.multi_label:
            return Classes(self.num_classes or 0, self.class_names).chosen(labels, num)
        rows = np.asarray(labels)
        if rows.shape != (num, self.num_classes) or not np.isin(rows, (0, 1)).all():
            raise ValueError(
                f"`labels` must be {num} rows of {self.num_classes} attributes, each 0 or 1, one row for each image. "
                f"Received: {'None' if labels is None else f'shape {rows.shape}'}"
            )
        return rows.astype(np.int32)

    @property
    def label_spec(self) -> tf.TensorSpec:
        """What `forward` takes as labels."""
        return tf.TensorSpec((None, self.num_classes) if self.multi_label else (None,), tf.int32, "labels")

    def _any_size(self, sources, way, extra):
        """Returns `forward` for sources of any size."""
        height, width = tf.shape(sources)[1], tf.shape(sources)[2]
        outputs = self._forward(pad_to_multiple(sources, self.multiple), way, extra)
        return outputs[:, : self.scale * height, : self.scale * width]

    def _forward(self, sources, way, extra):
        """Returns `forward`, compiled where a subclass gains by it."""
        return self.forward(sources, way, **extra)

    def signatures(self) -> Signatures:
        """Returns what the exported model can be asked, for pictures of any number, height and width.

        For each way, `translate` first, of which the following hold for all:

        - `translate(images[, labels]) -> {"images"}`, float32 in [0, 1]
        - `translate_uint8(images[, labels]) -> {"images"}`, uint8
        - `translate_seeded(images, seed[, labels]) -> {"images"}`, of one that draws; else its seed is 0
        """
        found: Signatures = {}
        labels = [] if self.num_classes is None else [self.label_spec]
        seed = tf.TensorSpec((), tf.int64, "seed")

        def call(way, finish, seeded=False):
            takes, makes = (self.modality_of(way, side) for side in ("source", "target"))

            def translate(images, *others):
                extra = {}
                if self.draws:
                    extra["seed"] = tf.stack([others[0] if seeded else tf.constant(0, tf.int64), 0])
                if self.num_classes is not None:
                    extra["labels"] = others[-1]
                return {"images": getattr(makes, finish)(self._any_size(takes.encode(images), way, extra))}

            return translate

        for way in self.ways:
            shape = (None, None, None, self.modality_of(way, "source").shape[-1])
            images = tf.TensorSpec(shape, tf.float32, "images")
            found[way] = (call(way, "decode"), [images, *labels])
            found[f"{way}_uint8"] = (call(way, "store"), [tf.TensorSpec(shape, tf.uint8, "images"), *labels])
            if self.draws:
                found[f"{way}_seeded"] = (call(way, "decode", seeded=True), [images, seed, *labels])
        return found

    def describe(self) -> dict[str, Any]:
        """Returns what a loaded model must know of itself, as JSON takes it."""
        return {
            "model": type(self).__name__,
            "modality": self.target.name,
            "data": self.data,
            "source_shape": list(self.source.shape),
            "shape": list(self.target.shape),
            "scale": self.scale,
            "multiple": self.multiple,
            "radius": self.radius,
            "ways": list(self.ways),
            "draws": self.draws,
            "multi_label": self.multi_label,
            "keeps_colours": self.keeps_colours,
            "whole": self.whole,
            "tileable": self.tileable,
            "num_classes": self.num_classes,
            "class_names": None if self.class_names is None else list(self.class_names),
        }


def pad_to_multiple(images: Array, multiple: int) -> tf.Tensor:
    """Returns images `(batch, height, width, channels)` continued to sides that are multiples, at the bottom and right.

    They go on as their mirror image does, to and fro where that is too short.
    """
    images = tf.convert_to_tensor(images)
    if multiple == 1:
        return images
    for axis in (1, 2):
        side = tf.shape(images)[axis]
        # Of positive numbers: ONNX rounds quotients towards 0.
        whole = (side + multiple - 1) // multiple * multiple
        # 0 1 2 1 0 1 2 ...
        period = tf.maximum(2 * side - 2, 1)
        position = tf.range(whole) % period
        images = tf.gather(images, tf.minimum(position, period - position), axis=axis)
    return images
