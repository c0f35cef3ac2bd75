"""The shapes of images that networks of doublings and halvings draw."""

from tfgan_app.base.sizes import Size, compact, written

__all__ = ["start_and_doublings"]

_LEAST = 4  # the shorter side of the smallest feature map
_MOST = 1024  # positions of that map, which no convolution sees as a whole any more
_SEARCHED = 128  # pixels around a size in which one that works is looked for


def start_and_doublings(model: str, image_shape: tuple[int, int, int], least: int = 2) -> tuple[Size, int]:
    """Returns the height and width of the smallest feature map, and how often both double to reach the image's.

    Images are halved as long as both sides are even and the shorter stays at least 4: 64x64, 32x32 and 1024x1024 start
    from 4x4, 28x28 from 7x7, 96x64 from 6x4, 80x80 from 5x5, 100x60 from 25x15.

    Args:
        model: What an error calls the model.
        image_shape: `(height, width, channels)`.
        least: How many doublings the model needs.

    Raises:
        ValueError: For images that halve less often, or to a map of more than 1 024 positions.
    """
    size = image_shape[0], image_shape[1]
    start, doublings = _halved(size)
    if not _drawn(size, least):
        nearest = dict.fromkeys(filter(None, (_nearest(size, least, sign) for sign in (-1, 1))))
        proposed = " or ".join(f"`image_size={compact(one)}`" for one in nearest)
        raise ValueError(
            f"{model} draws images whose sides both halve at least {_times(least)}, to a map of {_LEAST}x{_LEAST} at "
            f"least and {_MOST} positions at most; {written(size)} (width x height) halves {_times(doublings)}, to "
            f"{written(start)}. Give {proposed}, or `model=MLPGAN`, which draws any size. "
            f"Received: image_shape={tuple(image_shape)}"
        )
    return start, doublings


def _halved(size: Size) -> tuple[Size, int]:
    (height, width), count = size, 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * _LEAST:
        height, width, count = height // 2, width // 2, count + 1
    return (height, width), count


def _drawn(size: Size, least: int) -> bool:
    (height, width), count = _halved(size)
    return count >= least and min(height, width) >= _LEAST and height * width <= _MOST


def _nearest(size: Size, least: int, sign: int) -> Size | None:
    """Returns the size nearest to one, each side at most (`sign` -1) or at least (1) as long, of squares a square."""
    height, width = size
    for distance in range(2 * _SEARCHED):
        square = height == width
        steps = [(distance, distance)] if square else [(down, distance - down) for down in range(distance + 1)]
        for down, right in steps:
            found = height + sign * down, width + sign * right
            if min(found) > 0 and _drawn(found, least):
                return found
    return None


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")
