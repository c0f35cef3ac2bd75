"""Edges of pictures, one pixel thin, in NumPy. Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851."""

import numpy as np

from tfgan_app.data.blurring import gaussian

__all__ = ["canny"]


def canny(image: np.ndarray, sigma: float, low: float, high: float) -> np.ndarray:
    """Returns where the edges of an image are, as a bool array `(height, width)`.

    Args:
        image: `(height, width)`, levels from 0 to 255.
        sigma: Standard deviation, in pixels, of the Gaussian that smooths it first.
        low: The least slope of an edge, as a share of that of a step from black to white (Sobel's, unsmoothed).
        high: The least slope somewhere along each edge.
    """
    smooth = gaussian(image[..., None], sigma)[..., 0]
    rise, run = _sobel(smooth)
    slope = np.hypot(rise, run)
    height, width = slope.shape
    # A rim without slope spares the neighbours of the border a special case.
    slope = np.pad(slope, 1)
    row, column = np.nonzero(slope >= low * 255)
    if not len(row):
        return np.zeros((height, width), bool)
    place = row * (width + 2) + column
    rise, run = rise[row - 1, column - 1], run[row - 1, column - 1]
    place = place[_is_ridge(slope.ravel(), place, rise, run, width + 2)]
    return _connected(slope.ravel(), place, high * 255, width + 2).reshape(height + 2, width + 2)[1:-1, 1:-1]


def _sobel(image):
    """Returns the derivatives down and to the right; a step of one level has slope 1."""
    padded = np.pad(image, 1, "edge")
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    down = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (across[2:] - across[:-2]) / 4, (down[:, 2:] - down[:, :-2]) / 4


def _is_ridge(slope, place, rise, run, stride):
    """Returns whether each pixel's slope is the greatest across the edge, its neighbours there interpolated."""
    steep = np.abs(rise) > np.abs(run)
    vertical, horizontal = np.sign(rise).astype(int) * stride, np.sign(run).astype(int)
    straight = np.where(steep, vertical, horizontal)
    slanted = vertical + horizontal
    share = np.minimum(np.abs(rise), np.abs(run)) / np.maximum(np.abs(rise), np.abs(run))
    own = slope[place]
    ahead = slope[place + straight] * (1 - share) + slope[place + slanted] * share
    behind = slope[place - straight] * (1 - share) + slope[place - slanted] * share
    # Of two equal ones the second counts, so that a symmetric edge stays one pixel thin; a little more than rounding.
    small = 1e-3
    forwards = straight > 0
    before, after = np.where(forwards, behind, ahead), np.where(forwards, ahead, behind)
    return (own > after + small) & (own >= before - small)


def _connected(slope, place, high, stride):
    """Returns which pixels of `place` hang together with one of slope `high`, over the whole plane, flat."""
    open_ = np.zeros(len(slope), bool)
    open_[place] = True
    found = np.zeros(len(slope), bool)
    around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    front = place[slope[place] >= high]
    while len(front):
        found[front] = True
        open_[front] = False
        near = (front[:, None] + around).ravel()
        front = np.unique(near[open_[near]])
    return found
