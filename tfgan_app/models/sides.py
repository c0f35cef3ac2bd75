"""The sides of images that networks of doublings and halvings draw."""

__all__ = ["start_and_doublings"]


def start_and_doublings(model: str, image_shape: tuple[int, int, int], least: int) -> tuple[int, int]:
    """Returns the side of the smallest feature map, 4 or 7, and how often it doubles to reach the image's side.

    Args:
        model: What an error calls the model.
        image_shape: `(height, width, channels)`.
        least: The smallest power of two that is allowed.

    Raises:
        ValueError: For images that are not square, or of another side than 28 or a power of two from `least`.
    """
    height, width, _ = image_shape
    if height != width or not (height == 28 or (height >= least and height & (height - 1) == 0)):
        raise ValueError(
            f"{model} draws square images of side 28 or a power of two from {least}. Resize with "
            f"`image_size=64`. Received: image_shape={tuple(image_shape)}"
        )
    start = 7 if height == 28 else 4
    return start, (height // start).bit_length() - 1
