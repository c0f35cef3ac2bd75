"""What a sample is: images and points, a file each."""

from tfgan_app.modalities.images import Images
from tfgan_app.modalities.modality import Array, Modality
from tfgan_app.modalities.points import Points

__all__ = ["Array", "Images", "Modality", "Points", "infer"]

# What `infer` knows, by the rank of a sample.
_BY_RANK: dict[int, type[Modality]] = {1: Points, 3: Images}


def infer(shape: tuple[int, ...]) -> Modality:
    """Returns the modality of samples of a shape: points `(dim,)` or images `(height, width, channels)`.

    Raises:
        ValueError: For a shape of another rank.
    """
    if len(shape) not in _BY_RANK:
        raise ValueError(
            f"`modality` must be given for samples of shape {tuple(shape)}: only points (dim,) and images (height, "
            "width, channels) are known by their shape. See tfgan_app.modalities.Modality."
        )
    return _BY_RANK[len(shape)](shape)
