"""Holes for inpainting, drawn anew for each picture."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["boxes", "centre", "leave_some", "strokes"]

# Yu et al. 2019 give numbers for pictures of this side.
_SIDE = 256


def centre(height: int, width: int, size: float) -> np.ndarray:
    """Returns a hole in the middle, with `size` times the picture's sides, as a bool array `(height, width)`."""
    holes = np.zeros((height, width), bool)
    tall, wide = _side(height, size), _side(width, size)
    top, left = (height - tall) // 2, (width - wide) // 2
    holes[top : top + tall, left : left + wide] = True
    return holes


def boxes(height: int, width: int, rng: np.random.Generator, num: int, low: float, high: float) -> np.ndarray:
    """Returns 1 to `num` rectangles anywhere, with `low` to `high` times the picture's sides."""
    holes = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, num, endpoint=True)):
        tall, wide = _side(height, rng.uniform(low, high)), _side(width, rng.uniform(low, high))
        top = rng.integers(0, height - tall, endpoint=True)
        left = rng.integers(0, width - wide, endpoint=True)
        holes[top : top + tall, left : left + wide] = True
    return holes


def strokes(height: int, width: int, rng: np.random.Generator, num: int) -> np.ndarray:
    """Returns 1 to `num` strokes of a brush that turns back and forth.

    Yu et al. 2019, https://arxiv.org/abs/1806.03589, with the settings of their program: 4 to 11 segments, their length
    normal about an eighth of the diagonal, 12 to 40 pixels wide in pictures of 256x256, turning by 2 pi / 5 and up to
    2 pi / 15 more or less. Widths grow with the picture.
    """
    drawing = Image.new("L", (width, height))
    pen = ImageDraw.Draw(drawing)
    length = math.hypot(height, width) / 8
    scale = math.sqrt(height * width) / _SIDE
    for _ in range(rng.integers(1, num, endpoint=True)):
        least = 2 * math.pi / 5 - rng.uniform(0, 2 * math.pi / 15)
        most = 2 * math.pi / 5 + rng.uniform(0, 2 * math.pi / 15)
        points = [(rng.uniform(0, width), rng.uniform(0, height))]
        for segment in range(rng.integers(4, 12)):
            angle = rng.uniform(least, most)
            angle = angle if segment % 2 else 2 * math.pi - angle
            far = min(max(rng.normal(length, length / 2), 0.0), 2 * length)
            x, y = points[-1][0] + far * math.cos(angle), points[-1][1] + far * math.sin(angle)
            points.append((min(max(x, 0.0), width), min(max(y, 0.0), height)))
        brush = max(1, int(rng.uniform(12, 40) * scale))
        pen.line(points, fill=1, width=brush)
        # Round the ends and the corners.
        radius = brush / 2
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    holes = np.array(drawing, bool)
    if rng.random() < 0.5:
        holes = holes[:, ::-1]
    return holes[::-1] if rng.random() < 0.5 else holes


def leave_some(draw: Callable[[], np.ndarray], holes: np.ndarray) -> np.ndarray:
    """Returns holes that leave something known and something to fill, wherever a picture has two pixels.

    Args:
        draw: Draws other holes.
        holes: Those that there are already.
    """
    if holes.size == 1:
        return holes
    for _ in range(8):
        drawn = draw() | holes
        if drawn.any() and not drawn.all():
            return drawn
    # In pictures of few pixels: a half.
    drawn = holes.copy()
    drawn.flat[: holes.size // 2] = True
    if drawn.all():
        drawn.flat[-1] = False
    return drawn


def _side(side, share):
    return min(max(1, round(side * share)), side)
