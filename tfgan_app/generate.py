"""Draws images from a run or a SavedModel.

python -m tfgan_app.generate --run=runs/mnist --grid=8x8 --seed=7 --out=grid.png
"""

import functools
import pathlib
import re

from absl import flags, logging

from tfgan_app import cli
from tfgan_app.base import errors, files

__all__ = ["main", "run"]

flags.DEFINE_string("run", None, "A run folder.")
flags.DEFINE_string("saved_model", None, "A folder that this package exported to, such as saved_models/mnist/1.")
cli.define_checkpoint_flag()
flags.DEFINE_string("grid", "8x8", "ROWSxCOLUMNS of a picture; with --out=NAME.gif, of each frame of a latent walk.")
flags.DEFINE_integer("num_images", None, "How many single images; --out is then a folder or an .npz.", lower_bound=1)
flags.DEFINE_list("labels", None, "Classes to draw, repeated in turn, of a conditional GAN. Default: all.")
flags.DEFINE_integer("seed", 0, "Seed: equal seeds give equal images.")
cli.define_truncation_flag()
flags.DEFINE_integer("scale", 2, "Screen pixels for each pixel of a picture.", lower_bound=1)
flags.DEFINE_integer("frames", 48, "Frames of a walk.", lower_bound=2)
flags.DEFINE_string(
    "out",
    "grid.png",
    "NAME.png: a grid. NAME.gif: a walk through the latents. NAME.npz: an array. A folder: single PNGs.",
)

_ENDINGS = ("", ".png", ".gif", ".npz")


def main(argv):
    """Carries out the command; returns its exit code."""
    import numpy as np

    from tfgan_app.base import pictures

    out = pathlib.Path(flags.FLAGS.out)
    if out.suffix not in _ENDINGS:
        raise errors.UsageError(f"--out={out} must end in .png, .gif or .npz, or name a folder.")
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", flags.FLAGS.grid)
    if not match:
        raise errors.UsageError(f"--grid={flags.FLAGS.grid} must be ROWSxCOLUMNS, for example 8x8.")
    rows, columns = map(int, match.groups())
    single = out.suffix in ("", ".npz")
    num = flags.FLAGS.num_images or rows * columns
    if not single and flags.FLAGS.num_images:
        raise errors.UsageError(
            f"--num_images goes with --out=NAME.npz or a folder. For {out} give --grid=ROWSxCOLUMNS."
        )
    gan = _open()
    labels = _labels(gan, num)
    seed, scale, truncation = flags.FLAGS.seed, flags.FLAGS.scale, flags.FLAGS.truncation
    try:
        if out.suffix == ".gif":
            walk = _walk(num, gan.latent_dim, seed, flags.FLAGS.frames)
            frames = (gan.outputs(z, labels, truncation) for z in walk)
            pictures.save_gif(out, [gan.modality.show(frame, columns) for frame in frames], 12, scale)
        elif out.suffix == ".png":
            pictures.save_png(out, gan.picture(num, columns, seed, labels, truncation), scale)
        else:
            images = gan.modality.store(gan.outputs(gan.latents(num, seed), labels, truncation)).numpy()
            if out.suffix == ".npz":
                out.parent.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(out, images=images, **({} if labels is None else {"labels": labels}))
            else:
                digits = len(str(num - 1))
                for index, image in enumerate(images):
                    pictures.save_png(out / f"{index:0{digits}d}.png", image)
    except ValueError as error:
        raise errors.UsageError(str(error)) from error
    print(f"{num} images in {out}.")
    return 0


def _open():
    from tfgan_app import runs
    from tfgan_app.export.loaded import SavedGAN

    given = [name for name in ("run", "saved_model") if flags.FLAGS[name].value is not None]
    if len(given) != 1:
        raise errors.UsageError(f"give either --run or --saved_model. Received: {' and '.join(given) or 'neither'}")
    if flags.FLAGS.run:
        return runs.Run.existing(flags.FLAGS.run).restored_gan(flags.FLAGS.checkpoint)
    logging.warning(files.PROGRAM, f"--saved_model={flags.FLAGS.saved_model}")
    return SavedGAN(flags.FLAGS.saved_model)


def _labels(gan, num):
    import numpy as np

    names = flags.FLAGS.labels
    if names is None:
        return None if gan.num_classes is None else np.arange(num) % gan.num_classes
    if gan.num_classes is None:
        raise errors.UsageError(f"--labels={','.join(names)}: this GAN is unconditional.")
    if not all(name.isdecimal() for name in names):
        raise errors.UsageError(f"--labels={','.join(names)} must be integers from 0 to {gan.num_classes - 1}.")
    return np.resize(np.array(names, int), num)


def _walk(num, latent_dim, seed, frames):
    """Yields latents `(num, latent_dim)` along a closed path through three draws."""
    import numpy as np

    from tfgan_app.base.latents import draw_latents, slerp

    stops = [draw_latents(num, latent_dim, (seed, stop)) for stop in range(3)]
    for position in np.linspace(0, len(stops), frames, endpoint=False):
        index, part = int(position), position % 1
        yield slerp(stops[index], stops[(index + 1) % len(stops)], part)


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
