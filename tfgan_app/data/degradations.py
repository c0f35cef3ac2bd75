"""What makes sources of pictures: smaller, grey, holed, noisy, blurred or compressed ones, to learn the way back from.

`degrade=blur(0.2, 2), shrink(4), jpeg(60, 95)` names them, one after the other. All take and return uint8 arrays, and
draw from the generator that they are given alone: one seed gives one source, in training, scoring and notebooks.

| | |
|---|---|
| `shrink(factor, filter=bicubic)` | sides divided, antialiased; or `bilinear`, `box`, `lanczos` |
| `grey` | grey of equal luminance |
| `edges(sigma=1.0, low=0.05, high=0.15)` | thin black edges on white |
| `mask(centre, size=0.5)` | a hole in the middle, of that share of the sides |
| `mask(boxes, size=0.1, high=0.4, num=4)` | 1 to `num` rectangles, of such shares of the sides |
| `mask(strokes, num=3)` | 1 to `num` strokes of a brush |
| `noise(sigma, high=None, grey=0.0)` | Gaussian noise, in levels of 255 |
| `poisson(strength=1.0, high=None, grey=0.0)` | shot noise of a sensor |
| `blur(sigma, high=None, shape=isotropic)` | Gaussian; or `anisotropic`, `generalised`, `plateau`, `mixed` |
| `sinc(cutoff, high=None)` | rings at edges: a low-pass filter, in radians a pixel |
| `jpeg(quality, high=None)` | compressed, 1 to 100 |
| `real_esrgan(scale=4)` | blurred, resized, noisy and compressed, twice and at random |

Where there is a `high`, each picture draws from the first number to it, uniformly; `grey` is how often noise is alike
in all channels. Holes are transparent pixels: a source with holes has a fourth channel (a second, if grey), 0 in holes
and 255 elsewhere, and its colours there are 0.
"""

import ast
import dataclasses
import difflib
import inspect
import io
import math
import warnings
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from tfgan_app.base.colour import luminance_grey
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.data import blurring, canny, masks, resampling

__all__ = [
    "DEGRADATIONS",
    "Blur",
    "Chain",
    "Degradation",
    "Edges",
    "Grey",
    "Jpeg",
    "Mask",
    "Noise",
    "Poisson",
    "RealESRGAN",
    "Shrink",
    "Sinc",
    "degrade",
    "generator",
    "parse_degradation",
]

_NO_BASELINE = "source"
_LONGEST = 1000  # characters that a chain is described in
_SHOWN = 60  # of them in a message
_LARGEST_FACTOR = 16
_LARGEST_SIGMA = 20.0  # of a blur, in pixels


class Degradation:
    """What makes a source of a picture. Frozen, so that threads share one; equal where all its numbers are.

    Attributes:
        name: What `parse_degradation` knows it by.
    """

    name: ClassVar[str]

    @property
    def scale(self) -> int:
        """The source's sides are the picture's, divided by it."""
        return 1

    @property
    def baseline_name(self) -> str:
        """What `baseline` does, in a word or two: `bicubic`, `grey`, `mean fill` or, where nothing, `source`."""
        return _NO_BASELINE

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the source of a picture.

        Args:
            image: uint8, `(height, width, channels)`, grey or RGB, with sides that `scale` divides.
            rng: What all random numbers are drawn from.

        Returns:
            uint8, `(height / scale, width / scale, self.channels(channels))`.

        Raises:
            DataError: If the picture is not such a one.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
            raise DataError(
                f"`degrade={self}` takes uint8 images `(height, width, channels)`. "
                f"Received: {image.dtype} of shape {image.shape}."
            )
        self.channels(image.shape[2])
        height, width = image.shape[:2]
        if height % self.scale or width % self.scale:
            raise DataError(
                f"`degrade={self}` needs sides that {self.scale} divides. Received: an image of {height}x{width}."
            )
        return self._degrade(image, rng)

    def _degrade(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def channels(self, channels: int) -> int:
        """Returns how many channels the source has, of a picture's.

        Raises:
            DataError: If there can be no source of such a picture.
        """
        if channels not in (1, 3):
            raise DataError(f"`degrade={self}` takes grey or RGB images. Received: images of {channels} channels.")
        return channels

    def baseline(self, source: np.ndarray, channels: int | None = None) -> np.ndarray:
        """Returns the naive way back, which a translation should be better than.

        Args:
            source: uint8, `(height, width, channels)`.
            channels: Those of the picture; by default 3 where sources like this one are made of RGB, else 1.

        Returns:
            uint8, `(height * scale, width * scale, channels)`.
        """
        if channels is None:
            channels = 3 if self._makes(3, source.shape[2]) else 1
        if not self._makes(channels, source.shape[2]):
            raise DataError(f"`degrade={self}` makes no sources of {source.shape[2]} channels.")
        return self._back(source, channels)

    def _makes(self, channels, source_channels):
        try:
            return self.channels(channels) == source_channels
        except DataError:
            return False

    def _back(self, source: np.ndarray, channels: int) -> np.ndarray:
        return source

    def __str__(self) -> str:
        """What `parse_degradation` reads as this degradation: what is as by default is left out."""
        arguments, named = [], False
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.default:
                named = True
                continue
            written = value if isinstance(value, str) else repr(value)
            arguments.append(f"{field.name}={written}" if named else written)
        return f"{self.name}({', '.join(arguments)})" if arguments else self.name

    def _check(self, holds: bool, expected: str, received: Any) -> None:
        if not holds:
            raise UsageError(f"`degrade={_shown(str(self))}`: {expected}. Received: {received!r}.")

    def _check_range(self, what: str, low: Any, high: Any, least: float, most: float, above: bool = False) -> None:
        """Checks a number, or two to draw between; `above`: `least` itself is too little."""
        span = f"above {least:g} and up to {most:g}" if above else f"from {least:g} to {most:g}"
        for value in (low,) if high is None else (low, high):
            fits = _is_number(value) and (least < value if above else least <= value) and value <= most
            self._check(fits, f"the {what} must be a number {span}", value)
        if high is not None:
            self._check(low <= high, f"the {what} must be two numbers, the first the smaller", (low, high))

    def _check_count(self, what: str, value: Any, least: int, most: int) -> None:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        self._check(fits, f"the {what} must be a whole number from {least} to {most}", value)

    def _check_choice(self, what: str, value: Any, choices: Any) -> None:
        known = isinstance(value, str) and value in choices
        self._check(known, f"the {what} must be one of {', '.join(choices)}", value)


@dataclasses.dataclass(frozen=True)
class Shrink(Degradation):
    """Divides the sides, antialiased.

    Attributes:
        factor: By what, 2 to 16.
        filter: `bicubic` as MATLAB's `imresize`, `bilinear`, `box` (means) or `lanczos`.
    """

    name: ClassVar[str] = "shrink"
    factor: int
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        self._check_count("factor", self.factor, 2, _LARGEST_FACTOR)
        self._check_choice("filter", self.filter, resampling.FILTERS)

    @property
    def baseline_name(self) -> str:
        return "bicubic"

    @property
    def scale(self) -> int:
        return self.factor

    def _degrade(self, image, rng):
        return resampling.shrink(image, self.factor, self.filter)

    def _back(self, source, channels):
        return resampling.enlarge(source, self.factor)


@dataclasses.dataclass(frozen=True)
class Grey(Degradation):
    """Makes RGB grey, of equal luminance (sRGB, IEC 61966-2-1): CIE's lightness stays."""

    name: ClassVar[str] = "grey"

    @property
    def baseline_name(self) -> str:
        return "grey"

    def channels(self, channels: int) -> int:
        if channels != 3:
            raise DataError(f"`degrade={self}` needs images in RGB. Received: images of {channels} channels.")
        return 1

    def _degrade(self, image, rng):
        return luminance_grey(image)

    def _back(self, source, channels):
        return np.repeat(source, channels, axis=2)


@dataclasses.dataclass(frozen=True)
class Edges(Degradation):
    """Draws a picture's edges, one pixel thin and black on white. Canny 1986.

    Thresholds are fixed rather than found in each picture, so that a crop has the edges of the whole.

    Attributes:
        sigma: Standard deviation, in pixels, of the Gaussian that smooths the picture first: more leaves out more.
        low: The least slope of an edge, as a share of that of a sharp step from black to white.
        high: The least slope that each edge must have somewhere.
    """

    name: ClassVar[str] = "edges"
    sigma: float = 1.0
    low: float = 0.05
    high: float = 0.15

    def __post_init__(self) -> None:
        self._check_range("sigma", self.sigma, None, 0, _LARGEST_SIGMA, above=True)
        self._check_range("thresholds", self.low, self.high, 0, 1, above=True)

    def channels(self, channels: int) -> int:
        super().channels(channels)
        return 1

    def _degrade(self, image, rng):
        found = canny.canny(_luma(image.astype(np.float32))[..., 0], self.sigma, self.low, self.high)
        return np.where(found, 0, 255).astype(np.uint8)[..., None]

    def _back(self, source, channels):
        return np.repeat(source, channels, axis=2)


@dataclasses.dataclass(frozen=True)
class Mask(Degradation):
    """Makes holes: transparent pixels.

    Something is always known and something always missing, but in pictures of one pixel, which have no hole.

    Attributes:
        kind: `centre`, `boxes` or `strokes` (Yu et al. 2019).
        size: How large a hole is, as a share of the picture's sides: 0.5 in the centre; of boxes the least, 0.1.
        high: The largest share of boxes, 0.4.
        num: The most boxes (4) or strokes (3) in a picture; each has 1 to so many.
    """

    name: ClassVar[str] = "mask"
    kind: str
    size: float | None = None
    high: float | None = None
    num: int | None = None

    _TAKES: ClassVar[dict[str, dict[str, float]]] = {
        "centre": {"size": 0.5},
        "boxes": {"size": 0.1, "high": 0.4, "num": 4},
        "strokes": {"num": 3},
    }

    def __post_init__(self) -> None:
        self._check_choice("kind", self.kind, self._TAKES)
        given = {name: value for name in ("size", "high", "num") if (value := getattr(self, name)) is not None}
        taken = self._TAKES[self.kind]
        self._check(given.keys() <= taken.keys(), f"{self.kind} takes {' and '.join(taken)} alone", ", ".join(given))
        values = self._values()
        if "size" in values:
            self._check_range("size", values["size"], values.get("high"), 0, 0.95, above=True)
        if "num" in values:
            self._check_count("num", values["num"], 1, 100)

    def _values(self):
        """Returns what the kind takes, by name: what is given, or the default."""
        values = {}
        for name, default in self._TAKES[self.kind].items():
            given = getattr(self, name)
            values[name] = default if given is None else given
        if self.high is None and "high" in values and isinstance(self.size, int | float):
            values["high"] = max(values["high"], self.size)
        return values

    @property
    def baseline_name(self) -> str:
        return "mean fill"

    def channels(self, channels: int) -> int:
        """Returns one more for colours, and as many where there are holes already."""
        if channels in (2, 4):
            return channels
        return super().channels(channels) + 1

    def _degrade(self, image, rng):
        height, width, channels = image.shape
        holes = np.zeros((height, width), bool) if channels % 2 else image[..., -1] == 0
        values = self._values()

        def draw():
            if self.kind == "centre":
                return masks.centre(height, width, values["size"])
            if self.kind == "boxes":
                return masks.boxes(height, width, rng, values["num"], values["size"], values["high"])
            return masks.strokes(height, width, rng, values["num"])

        known = ~masks.leave_some(draw, holes)[..., None]
        colours = image if channels % 2 else image[..., :-1]
        return np.concatenate([colours * known, known.astype(np.uint8) * np.uint8(255)], axis=2)

    def _back(self, source, channels):
        if channels % 2 == 0:  # of a mask upon a mask, the first fills all holes
            return source
        known = source[..., -1] > 0
        colours = source[..., :-1].copy()
        colours[~known] = _levels(colours[known].mean(axis=0)) if known.any() else 128
        return colours


@dataclasses.dataclass(frozen=True)
class Noise(Degradation):
    """Adds Gaussian noise.

    Attributes:
        sigma: Standard deviation, in levels of 255.
        high: Where given, each picture draws its own from `sigma` to this.
        grey: Probability that a picture's noise is alike in all channels.
    """

    name: ClassVar[str] = "noise"
    sigma: float
    high: float | None = None
    grey: float = 0.0

    def __post_init__(self) -> None:
        self._check_range("sigma", self.sigma, self.high, 0, 255)
        self._check_range("share of grey", self.grey, None, 0, 1)

    def _degrade(self, image, rng):
        return _levels(_add_noise(image.astype(np.float32), _between(rng, self.sigma, self.high), self.grey, rng))


@dataclasses.dataclass(frozen=True)
class Poisson(Degradation):
    """Adds the shot noise of a sensor that counts 255 electrons where a picture is white, one for each level.

    Attributes:
        strength: Times what its noise is taken, up to 10.
        high: Where given, each picture draws its own from `strength` to this.
        grey: Probability that a picture's noise is alike in all channels.
    """

    name: ClassVar[str] = "poisson"
    strength: float = 1.0
    high: float | None = None
    grey: float = 0.0

    def __post_init__(self) -> None:
        self._check_range("strength", self.strength, self.high, 0, 10)
        self._check_range("share of grey", self.grey, None, 0, 1)

    def _degrade(self, image, rng):
        return _levels(_add_shots(image.astype(np.float32), _between(rng, self.strength, self.high), self.grey, rng))


# Real-ESRGAN's kernels: shape, whether two widths differ, and how often.
_KERNELS = (
    ("gaussian", False, 0.45),
    ("gaussian", True, 0.25),
    ("generalised", False, 0.12),
    ("generalised", True, 0.03),
    ("plateau", False, 0.12),
    ("plateau", True, 0.03),
)
_BLURS = {
    "isotropic": _KERNELS[:1],
    "anisotropic": _KERNELS[1:2],
    "generalised": _KERNELS[2:4],
    "plateau": _KERNELS[4:],
    "mixed": _KERNELS,
}
_BETAS = {"gaussian": (1.0, 1.0), "generalised": (0.5, 4.0), "plateau": (1.0, 2.0)}


@dataclasses.dataclass(frozen=True)
class Blur(Degradation):
    """Blurs.

    Attributes:
        sigma: Standard deviation, in pixels.
        high: Where given, each picture draws its own from `sigma` to this.
        shape: `isotropic` (Gaussian), `anisotropic` (Gaussian of two widths, turned by any angle), `generalised`
            (sharper or flatter at its top), `plateau`, or `mixed`: all of these, as often as in Real-ESRGAN.
    """

    name: ClassVar[str] = "blur"
    sigma: float
    high: float | None = None
    shape: str = "isotropic"

    def __post_init__(self) -> None:
        self._check_range("sigma", self.sigma, self.high, 0.1, _LARGEST_SIGMA)
        self._check_choice("shape", self.shape, _BLURS)

    def _degrade(self, image, rng):
        if self.shape == "isotropic":
            return _levels(blurring.gaussian(image, _between(rng, self.sigma, self.high)))
        high = self.sigma if self.high is None else self.high
        side = max(7, 2 * math.ceil(3 * high) + 1)
        return _levels(blurring.convolve(image, _draw_kernel(rng, side, (self.sigma, high), _BLURS[self.shape])))


@dataclasses.dataclass(frozen=True)
class Sinc(Degradation):
    """Lets no frequency above `cutoff` pass, so that edges ring, as in pictures sharpened or compressed too much.

    Attributes:
        cutoff: Radians a pixel, up to pi.
        high: Where given, each picture draws its own from `cutoff` to this.
    """

    name: ClassVar[str] = "sinc"
    cutoff: float
    high: float | None = None

    def __post_init__(self) -> None:
        self._check_range("cutoff", self.cutoff, self.high, 0.1, math.pi)

    def _degrade(self, image, rng):
        kernel = blurring.sinc_kernel(_LARGEST_KERNEL, _between(rng, self.cutoff, self.high))
        return _levels(blurring.convolve(image, kernel))


@dataclasses.dataclass(frozen=True)
class Jpeg(Degradation):
    """Compresses, with colours at half the resolution as is usual. Equal for one version of Pillow's libjpeg.

    Attributes:
        quality: 1 to 100.
        high: Where given, each picture draws its own from `quality` to this.
    """

    name: ClassVar[str] = "jpeg"
    quality: int
    high: int | None = None

    def __post_init__(self) -> None:
        self._check_count("quality", self.quality, 1, 100)
        if self.high is not None:
            self._check_count("quality", self.high, 1, 100)
            self._check_range("quality", self.quality, self.high, 1, 100)

    def _degrade(self, image, rng):
        return _compressed(
            image, self.quality if self.high is None else int(rng.integers(self.quality, self.high, endpoint=True))
        )


# Wang et al.'s settings, options/train_realesrgan_x4plus.yml of their program, for the first and the second time.
_LARGEST_KERNEL = 21
_PROBABILITY_SINC = 0.1
_PROBABILITY_FINAL_SINC = 0.8
_QUALITIES = (30, 95)
_PROBABILITY_GREY = 0.4


@dataclasses.dataclass(frozen=True)
class _Stage:
    blur: float  # probability
    sigmas: tuple[float, float]
    larger: float  # probability
    smaller: float  # probability
    sizes: tuple[float, float]
    noise: tuple[float, float]
    shots: tuple[float, float]


_FIRST = _Stage(1.0, (0.2, 3.0), 0.2, 0.7, (0.15, 1.5), (1, 30), (0.05, 3))
_SECOND = _Stage(0.8, (0.2, 1.5), 0.3, 0.4, (0.3, 1.2), (1, 25), (0.05, 2.5))


@dataclasses.dataclass(frozen=True)
class RealESRGAN(Degradation):
    """Blurs, resizes, adds noise and compresses, twice and at random, as pictures fare on their way through the web.

    Wang et al. 2021, https://arxiv.org/abs/2107.10833, with the settings of their program's x4plus. It differs in three
    things. Pictures are compressed by JPEG itself, not by an approximation of it. Shot noise is that of a white of 255
    electrons; theirs is of as many as a picture has levels, which drowns flat ones in noise. The picture to come back
    to is left as it is, where they sharpen it.

    Attributes:
        scale: By what the sides are divided in the end, 1 to 16.
    """

    name: ClassVar[str] = "real_esrgan"
    scale: int = 4

    def __post_init__(self) -> None:
        self._check_count("scale", self.scale, 1, _LARGEST_FACTOR)

    @property
    def baseline_name(self) -> str:
        return _NO_BASELINE if self.scale == 1 else "bicubic"

    def _degrade(self, image, rng):
        height, width = image.shape[:2]
        picture = self._compress(self._pass(image.astype(np.float32), height, width, _FIRST, rng), rng)
        height, width = height // self.scale, width // self.scale
        picture = self._pass(picture, height, width, _SECOND, rng)
        # Any other order makes lines squirm, they say.
        if rng.random() < 0.5:
            return _levels(self._compress(self._finish(picture, height, width, rng), rng))
        return _levels(self._finish(self._compress(picture, rng), height, width, rng))

    def _pass(self, picture, height, width, stage, rng):
        """Blurs, resizes to about `(height, width)` and adds noise."""
        if rng.random() < stage.blur:
            side = _draw_side(rng)
            if rng.random() < _PROBABILITY_SINC:
                kernel = blurring.sinc_kernel(side, rng.uniform(math.pi / (3 if side < 13 else 5), math.pi))
            else:
                kernel = _draw_kernel(rng, side, stage.sigmas, _KERNELS)
            picture = blurring.convolve(picture, kernel)
        draw, size = rng.random(), 1.0
        if draw < stage.larger:
            size = rng.uniform(1, stage.sizes[1])
        elif draw < stage.larger + stage.smaller:
            size = rng.uniform(stage.sizes[0], 1)
        picture = self._resize(picture, max(1, int(height * size)), max(1, int(width * size)), rng)
        if rng.random() < 0.5:
            picture = _add_noise(picture, rng.uniform(*stage.noise), _PROBABILITY_GREY, rng)
        else:
            picture = _add_shots(picture, rng.uniform(*stage.shots), _PROBABILITY_GREY, rng)
        return np.clip(picture, 0, 255)

    def _finish(self, picture, height, width, rng):
        picture = self._resize(picture, height, width, rng)
        if rng.random() < _PROBABILITY_FINAL_SINC:
            kernel = blurring.sinc_kernel(_draw_side(rng), rng.uniform(math.pi / 3, math.pi))
            picture = blurring.convolve(picture, kernel)
        return picture

    def _resize(self, picture, height, width, rng):
        return resampling.resample(picture, height, width, ("area", "bilinear", "bicubic")[rng.integers(3)])

    def _compress(self, picture, rng):
        return _compressed(_levels(picture), int(rng.integers(*_QUALITIES, endpoint=True))).astype(np.float32)

    def _back(self, source, channels):
        return source if self.scale == 1 else resampling.enlarge(source, self.scale)


@dataclasses.dataclass(frozen=True)
class Chain(Degradation):
    """Several degradations, one after the other.

    Attributes:
        stages: At least one. After a mask only masks may follow: anything else would fray the holes.
    """

    name: ClassVar[str] = "chain"
    stages: tuple[Degradation, ...]

    def __post_init__(self) -> None:
        self._check(bool(self.stages), "a chain needs at least one degradation", self.stages)
        last = [isinstance(stage, Mask) for stage in self.stages]
        self._check(last == sorted(last), "only another mask can follow a mask: put masks last", str(self))

    def __str__(self) -> str:
        return ", ".join(map(str, self.stages))

    @property
    def scale(self) -> int:
        return math.prod(stage.scale for stage in self.stages)

    @property
    def baseline_name(self) -> str:
        names = dict.fromkeys(stage.baseline_name for stage in reversed(self.stages))
        return " and ".join(name for name in names if name != _NO_BASELINE) or _NO_BASELINE

    def channels(self, channels: int) -> int:
        for stage in self.stages:
            channels = stage.channels(channels)
        return channels

    def _degrade(self, image, rng):
        for stage in self.stages:
            image = stage(image, rng)
        return image

    def _back(self, source, channels):
        before = [channels]
        for stage in self.stages[:-1]:
            before.append(stage.channels(before[-1]))
        for stage, number in zip(reversed(self.stages), reversed(before), strict=True):
            source = stage._back(source, number)
        return source


# By the names that they are given by.
DEGRADATIONS: dict[str, type[Degradation]] = {
    kind.name: kind for kind in (Shrink, Grey, Edges, Mask, Noise, Poisson, Blur, Sinc, Jpeg, RealESRGAN)
}


def parse_degradation(text: str | Degradation) -> Degradation:
    """Returns what a text such as `shrink(4)` or `blur(1.2), shrink(4), jpeg(60)` describes.

    Nothing in the text is carried out. `str` of the result is a text for it.

    Raises:
        UsageError: If it describes none, or its numbers are out of range.
    """
    if isinstance(text, Degradation):
        return text
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
        what = f"{len(text)} characters" if isinstance(text, str) and text.strip() else repr(text)
        raise UsageError(f"`degrade` must describe a degradation, such as 'shrink(4)'. Received: {what}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd is said below
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(text) from error
    parts = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    stages = [_stage(part, text) for part in parts]
    if not stages:
        raise _unreadable(text)
    return stages[0] if len(stages) == 1 else Chain(tuple(stages))


def _stage(node, text):
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise _unreadable(text)
    name = call.func.id
    if name not in DEGRADATIONS:
        close = difflib.get_close_matches(name, DEGRADATIONS, 1)
        raise UsageError(
            f"`degrade={_shown(text)}`: there is no '{_shown(name)}'."
            f"{f' Did you mean {close[0]}?' if close else ''} There are {', '.join(DEGRADATIONS)}."
        )
    values = [_literal(argument, text) for argument in call.args]
    named = {keyword.arg or "**": _literal(keyword.value, text) for keyword in call.keywords}
    if len(named) < len(call.keywords):
        raise _unreadable(text)
    signature = inspect.signature(DEGRADATIONS[name])
    try:
        signature.bind(*values, **named)
    except TypeError as error:
        takes = ", ".join(
            field.name if field.default is field.empty else f"{field.name}={field.default}"
            for field in signature.parameters.values()
        )
        expected = f"takes {name}({takes})" if takes else "takes nothing"
        raise UsageError(f"`degrade={_shown(text)}`: {name} {expected}; {error}.") from error
    return DEGRADATIONS[name](*values, **named)


def _literal(node, text):
    """Returns the value of a number, or of a word, quoted or not."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise _unreadable(text) from error


def _unreadable(text):
    return UsageError(
        f"`degrade={_shown(text)}` cannot be read. Expected degradations and their numbers in brackets, such as "
        f"'shrink(4)' or 'blur(1.2), shrink(4), jpeg(60)', of {', '.join(DEGRADATIONS)}."
    )


def _shown(text):
    """Returns a text fit for a message."""
    text = " ".join(text.replace("`", "'").split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def generator(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """Returns what a picture's random numbers are drawn from: Philox (Salmon et al. 2011), the same on all machines.

    Args:
        seed: That of the data.
        number: That of the draw, or of the picture.
        stream: 0 for what degrades; others have nothing in common with it.
    """
    key = np.array([seed % 2**64, number % 2**64], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, stream], np.uint64)))


def degrade(images: np.ndarray, degradation: str | Degradation, seed: int = 0, first: int = 0) -> np.ndarray:
    """Returns the sources of images, as a run's data has them for the same seed and numbers.

    ```python
    small = tfgan_app.data.degrade(photographs, "blur(0.2, 2), shrink(4), jpeg(60, 95)")
    ```

    Args:
        images: One image `(height, width, channels)` or several `(num, height, width, channels)`, grey or RGB: uint8,
            or floating-point in [0, 1].
        degradation: What to do; see `tfgan_app.data.degradations`.
        seed: That of what is drawn.
        first: The number of the first image; the others follow.

    Returns:
        The sources, of the images' type and range.

    Raises:
        UsageError: If there is no such degradation, or floating-point images leave [0, 1].
        DataError: If images have sides or channels that cannot be degraded so.
    """
    degradation = parse_degradation(degradation)
    images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise UsageError(
            "`images` must be `(height, width, channels)` or `(num, height, width, channels)`. "
            f"Received: shape {images.shape}."
        )
    levels = images
    if np.issubdtype(images.dtype, np.floating):
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise UsageError(
                f"`images` must be uint8, or lie in [0, 1]. Received: values from {images.min():g} to {images.max():g}."
            )
        levels = _levels(images * 255)
    batch = levels if images.ndim == 4 else levels[None]
    if not len(batch):
        raise UsageError(f"`images` must hold at least one. Received: shape {images.shape}.")
    sources = np.stack([degradation(image, generator(seed, first + k)) for k, image in enumerate(batch)])
    sources = sources if images.ndim == 4 else sources[0]
    return sources if images.dtype == np.uint8 else (sources / 255).astype(images.dtype)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _between(rng, low, high):
    return low if high is None else rng.uniform(low, high)


def _levels(image):
    """Returns the nearest levels, as uint8."""
    return np.clip(image + np.asarray(0.5, image.dtype), 0, 255).astype(np.uint8)


def _luma(image):
    """Returns grey `(height, width, 1)` by ITU-R BT.601's weights, which JPEG uses too."""
    return image if image.shape[2] == 1 else (image @ np.array([0.299, 0.587, 0.114], image.dtype))[..., None]


def _draw_side(rng):
    return 2 * int(rng.integers(3, 10, endpoint=True)) + 1


def _draw_kernel(rng, side, sigmas, kinds):
    """Returns one of several kinds of kernels, each as often as the last of its three facts says."""
    shares = np.array([share for _, _, share in kinds])
    shape, stretched, _ = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
    sigma = rng.uniform(*sigmas)
    across, angle = (rng.uniform(*sigmas), rng.uniform(-math.pi, math.pi)) if stretched else (None, 0.0)
    sharp, flat = _BETAS[shape]
    beta = rng.uniform(sharp, 1) if rng.random() < 0.5 else rng.uniform(1, flat)
    return blurring.kernel_of(shape, side, sigma, across, angle, beta)


def _add_noise(image, sigma, grey, rng):
    """Adds Gaussian noise to a float32 image; with the probability `grey`, alike in all channels."""
    shape = (*image.shape[:2], 1) if rng.random() < grey else image.shape
    noise = rng.standard_normal(shape, np.float32)
    noise *= np.float32(sigma)
    return image + noise


def _add_shots(image, strength, grey, rng):
    light = _luma(image) if rng.random() < grey else image
    light = np.clip(light, 0, 255)
    noise = (rng.poisson(light) - light).astype(np.float32)
    noise *= np.float32(strength)
    return image + noise


def _compressed(image, quality):
    memory = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(memory, "jpeg", quality=quality)
    decoded = np.asarray(Image.open(memory))
    return decoded.reshape(image.shape)
