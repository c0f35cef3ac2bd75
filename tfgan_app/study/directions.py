"""Directions among latents along which samples change in one respect, found without training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike
from tfgan_app.gan import GAN
from tfgan_app.modalities.modality import Array
from tfgan_app.sampler import Sampler
from tfgan_app.study.kept_latents import check_same, fingerprint, read_arrays, write_arrays

__all__ = ["Directions", "between", "pca", "sefa"]

# Draws that principal components are of: of the paper's 10^6, what two cores do in a second.
_DRAWS = 2000
# Draws that the deviation of styles along a direction is measured on.
_MEASURED = 2000


@dataclasses.dataclass(frozen=True)
class Directions:
    """Directions among the latents of a generator, or among its styles.

    `sampler.edit(latents, found["smile"], 2.0)` moves two standard deviations along one.

    Attributes:
        vectors: `(num, latent_dim)` or `(num, style_dim)`, each as long as the standard deviation of the generator's
            latents along it.
        values: What they are ordered by, `(num,)`: singular values or, of a difference, its length in deviations.
        names: What they are called; at first their numbers, from 1 on.
        method: How they were found.
        space: What they are directions of, `latents` or `styles`.
        fingerprint: Whose they are; see `tfgan_app.study.fingerprint`.
    """

    vectors: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    method: str
    space: str
    fingerprint: np.ndarray

    def __getitem__(self, name: str | int) -> np.ndarray:
        """Returns the direction of a name, or of a number from 1 on. A name is one before it is a number.

        Raises:
            UsageError: If there is none.
        """
        text = str(name)
        if text in self.names:
            return self.vectors[self.names.index(text)]
        if text.isdecimal() and 1 <= int(text) <= len(self.names):
            return self.vectors[int(text) - 1]
        known = ", ".join(self.names[:20]) + (", ..." if self.names[20:] else "")
        raise UsageError(
            f"There is no direction {text!r}. It must be a name ({known}) or a number from 1 to {len(self.names)}."
        )

    def named(self, names: Sequence[str]) -> "Directions":
        """Returns them with other names: the first of them; one that is empty stays as it is.

        Raises:
            UsageError: If there are more names than directions, or two alike.
        """
        if len(names) > len(self.names):
            raise UsageError(f"`names` must be at most {len(self.names)}, one a direction. Received: {len(names)}")
        found = (*(new or old for new, old in zip(names, self.names, strict=False)), *self.names[len(names) :])
        if len(set(found)) < len(found):
            raise UsageError(f"`names` must differ from each other. Received: {', '.join(found)}")
        return dataclasses.replace(self, names=found)

    def save(self, path: PathLike) -> None:
        """Writes them to an `.npz` file, for `load`."""
        write_arrays(
            path,
            directions=self.vectors,
            singular_values=self.values,
            names=np.array(self.names),
            method=np.array(self.method),
            space=np.array(self.space),
            fingerprint=self.fingerprint,
        )

    @classmethod
    def load(cls, path: PathLike, sampler: Sampler) -> "Directions":
        """Reads what `save` wrote.

        Raises:
            UsageError: If it is no such file, or its directions are those of another generator.
        """
        names = ("directions", "singular_values", "names", "method", "space", "fingerprint")
        found = read_arrays(path, "directions", names)
        check_same(path, found, sampler)
        method, space = str(found["method"]), str(found["space"])
        called = tuple(map(str, found["names"]))
        vectors, dim = found["directions"], _dim(sampler, space)
        if vectors.shape != (len(called), dim):
            raise UsageError(f"{path} has directions of shape {vectors.shape}. Expected (num, {dim}).")
        return cls(vectors, found["singular_values"], called, method, space, found["fingerprint"])


def sefa(gan: Sampler, num: int = 8, layers: Sequence[int] | None = None) -> Directions:
    """Returns the directions that the generator's first weights lengthen most.

    Closed-form factorisation, Shen and Zhou 2020, https://arxiv.org/abs/2007.06600: the eigenvectors of A^T A with the
    largest eigenvalues, where A are the first weights that act on latents: of StyleGAN2 those that make styles of w, of
    all layers or of some; elsewhere those of the layers that the latents reach first, of BigGAN of each part.

    Args:
        gan: A GAN. A SavedModel keeps its weights to itself.
        num: How many, at most as many as there are latents.
        layers: Of which styles, by number; None for all.

    Raises:
        UsageError: For a loaded SavedModel, layers that there are not, or more directions than there are.
    """
    values, vectors = np.linalg.eigh(_gan(gan, "sefa").latent_gram(layers))
    order = np.argsort(values)[::-1]
    return _found(gan, num, vectors.T[order], np.sqrt(np.maximum(values[order], 0.0)), "sefa")


def pca(sampler: Sampler, num: int = 8, seed: int = 0, draws: int = _DRAWS) -> Directions:
    """Returns the directions in which latents vary most on their way through the generator.

    GANSpace, Haerkoenen et al. 2020, https://arxiv.org/abs/2004.02546: where there are styles, the principal components
    of w; elsewhere those of what the first weights make of the latents, and of these the regression on the components.
    Where the first weights do nothing but multiply, that finds what `sefa` finds, to within the error of the draws.

    Args:
        sampler: A GAN; or a loaded one, if it has styles.
        num: As in `sefa`.
        seed: Of the draws.
        draws: How many.

    Raises:
        UsageError: For a loaded SavedModel without styles, or more directions than there are.
    """
    latents = np.asarray(sampler.latents(draws, seed))
    told = sampler.told(draws)  # and so are those that are drawn without
    if sampler.style_shape is not None:
        _, values, vectors = np.linalg.svd(_centred(sampler.styles(latents)[:, 0], *told), full_matrices=False)
        return _found(sampler, num, vectors, values / np.sqrt(draws), "pca")
    activations = _centred(_gan(sampler, "pca").first_activations(latents), *told)
    coordinates, values, _ = np.linalg.svd(activations, full_matrices=False)
    vectors = coordinates.T[: sampler.latent_dim] @ _centred(latents, *told)
    return _found(sampler, num, vectors, values / np.sqrt(draws), "pca")


def between(sampler: Sampler, positive: Array, negative: Array, method: str = "difference") -> Directions:
    """Returns the one direction from latents of one kind to those of another.

    Args:
        sampler: Whose latents they are.
        positive: Latents `(num, latent_dim)`, or styles `(num, num_styles, style_dim)`, of images that have something.
        negative: Those of pictures that lack it.
        method: `difference` of the means; or the normal of the plane that `separates` them, by Fisher's discriminant
            with a ridge that counts the more the fewer there are: it leaves out what varies within both.

    Raises:
        ValueError: If they do not fit each other or the sampler, or for another method.
    """
    if method not in ("difference", "separator"):
        raise ValueError(f"`method` must be difference or separator. Received: method={method!r}")
    sides = [np.asarray(side, np.float64) for side in (positive, negative)]
    space = "styles" if sides[0].ndim == 3 else "latents"
    expected = (sampler.latent_dim,) if space == "latents" else sampler.style_shape
    if any(side.shape[1:] != expected or not len(side) for side in sides):
        shapes = " and ".join(str(side.shape) for side in sides)
        raise ValueError(f"Latents of both kinds must have the shape (num, {expected}). Received: {shapes}")
    if space == "styles":
        sides = [side.mean(axis=1) for side in sides]
    vector = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    if method == "separator":
        within = np.concatenate([side - side.mean(axis=0) for side in sides])
        covariance = within.T @ within / max(1, len(within) - 2)
        ridge = (np.trace(covariance) / len(vector) or 1.0) * len(vector) / len(within)
        vector = np.linalg.solve(covariance + ridge * np.eye(len(vector)), vector)
    if not np.linalg.norm(vector):
        raise ValueError("Latents of both kinds are equal, and so point nowhere.")
    return _found(sampler, 1, vector[np.newaxis], np.array([np.linalg.norm(vector)]), method, space)


def _gan(sampler, method):
    if not isinstance(sampler, GAN):
        raise UsageError(
            f"`directions={method}` needs the generator's weights, which a SavedModel hides: take the run."
        )
    return sampler


def _found(sampler, num, vectors, values, method, space=None):
    """Returns directions from vectors of any length, of which each that is known to be new points a way of its own."""
    space = space or ("latents" if sampler.style_shape is None else "styles")
    if num > len(vectors):
        raise UsageError(f"There are {len(vectors)} directions. Received: {num}")
    unit = vectors[:num] / np.maximum(np.linalg.norm(vectors[:num], axis=1, keepdims=True), 1e-30)
    if method in ("sefa", "pca"):
        # The sign of an eigenvector is a matter of the library: the largest number is to be positive.
        unit *= np.sign(np.take_along_axis(unit, np.abs(unit).argmax(axis=1)[:, np.newaxis], axis=1))
    if space == "styles":
        styles = sampler.styles(sampler.latents(_MEASURED, 1))[:, 0]
        unit = unit * (styles @ unit.T).std(axis=0)[:, np.newaxis]
    names = tuple(str(number) for number in range(1, num + 1))
    return Directions(
        unit.astype(np.float32), values[:num].astype(np.float32), names, method, space, fingerprint(sampler)
    )


def _centred(values, told=None):
    """Returns values `(num, dim)` less their mean, or that of those that are told the same, `(num, ...)`."""
    if told is None:
        return values - values.mean(axis=0)
    _, groups = np.unique(told, axis=0, return_inverse=True)
    groups, centred = groups.reshape(-1), np.empty_like(values)
    for group in range(groups.max() + 1):
        centred[groups == group] = values[groups == group] - values[groups == group].mean(axis=0)
    return centred


def _dim(sampler, space):
    return sampler.latent_dim if space == "latents" else (sampler.style_shape or (0, 0))[1]
