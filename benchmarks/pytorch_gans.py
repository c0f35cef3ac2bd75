"""The classic PyTorch GANs on 28x28 greyscale images, trained for a given time: what ours stand beside.

BigGAN, SNGAN, StyleGAN2 and R3GAN (pytorch_networks.py) can only be timed, by `--serve`.

    python benchmarks/pytorch_gans.py --model=dcgan --data=train.npz --seconds 60 240 --out=samples.npz

`--data` is an .npz with uint8 `images` `(num, 28, 28, 1)`, or such an .npy. The samples are written likewise. The last
line of the output is a JSON object with the steps and images/s of the timed part.

The networks and their settings are the published ones, in eager float32. `--best` is what a careful PyTorch user would
make of them: fused Adam, no gradients of D's weights in G's update, and whichever of float32 and bfloat16 autocast,
contiguous and channels_last, eager and torch.compile steps faster here in a short trial; compilation has two minutes.
All of it is on the GPU where there is one, images included.

Where this differs from the published scripts it favours PyTorch:
- all images are one tensor in memory, resized once and shuffled by `randperm`: faster than torchvision's loaders;
- the loss is taken from logits, one fused operation in place of a sigmoid and a `BCELoss`;
- the clock starts after the first step, with `--best` after the trial and three steps: neither start-up nor
  compilation counts.
"""

import argparse
import contextlib
import copy
import functools
import itertools
import json
import math
import pathlib
import platform
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_networks import biggan, r3gan, sngan, stylegan2
from torch import nn

LATENT_DIM = 100
SIDE = 28
BASE = 64
SAMPLE_BATCH = 250
COMPILE_SECONDS = 120
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def perceptrons(g_units, d_units, alpha=0.2, batch_norm=False):
    """Returns dense G and D on flattened images; batch normalisation follows G's activations."""
    g_layers: list[nn.Module] = []
    for width_in, width in zip((LATENT_DIM, *g_units), g_units, strict=False):
        g_layers += [nn.Linear(width_in, width), nn.LeakyReLU(alpha)]
        g_layers += [nn.BatchNorm1d(width)] if batch_norm else []
    g_layers += [nn.Linear(g_units[-1], SIDE * SIDE), nn.Tanh(), nn.Unflatten(1, (1, SIDE, SIDE))]
    d_layers: list[nn.Module] = [nn.Flatten()]
    for width_in, width in zip((SIDE * SIDE, *d_units), d_units, strict=False):
        d_layers += [nn.Linear(width_in, width), nn.LeakyReLU(alpha)]
    return nn.Sequential(*g_layers), nn.Sequential(*d_layers, nn.Linear(d_units[-1], 1))


def dcgan_64():
    """Returns the 64x64 DCGAN: five 4x4 transposed convolutions, 1 -> 4 -> 8 -> 16 -> 32 -> 64, and its mirror."""
    widths = [8 * BASE, 4 * BASE, 2 * BASE, BASE]
    g_layers = [
        nn.Unflatten(1, (LATENT_DIM, 1, 1)),
        nn.ConvTranspose2d(LATENT_DIM, widths[0], 4, 1, 0, bias=False),
        *_growing(widths),
    ]
    d_layers = [*_shrinking(widths[::-1]), nn.Conv2d(widths[0], 1, 4, 1, 0, bias=False), nn.Flatten()]
    return _initialised(g_layers), _initialised(d_layers)


def dcgan_28():
    """Returns the networks of `tfgan_app.models.DCGAN((28, 28, 1))`: 7 -> 14 -> 28, dense at the ends."""
    widths = [2 * BASE, BASE]
    g_layers = [
        nn.Linear(LATENT_DIM, 7 * 7 * widths[0], bias=False),
        nn.Unflatten(1, (widths[0], 7, 7)),
        *_growing(widths),
    ]
    d_layers = [*_shrinking(widths[::-1]), nn.Flatten(), nn.Linear(7 * 7 * widths[0], 1, bias=False)]
    return _initialised(g_layers), _initialised(d_layers)


def _growing(widths):
    for width, next_width in zip(widths, [*widths[1:], 1], strict=True):
        yield from (nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, next_width, 4, 2, 1, bias=False))
    yield nn.Tanh()


def _shrinking(widths):
    for index, (width_in, width) in enumerate(zip([1, *widths], widths, strict=False)):
        yield nn.Conv2d(width_in, width, 4, 2, 1, bias=False)
        if index:
            yield nn.BatchNorm2d(width)
        yield nn.LeakyReLU(0.2)


def _initialised(layers):
    network = nn.Sequential(*layers)
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        elif hasattr(layer, "weight"):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def cross_entropy(real, fake, real_label):
    """Returns D's loss of logits."""
    return _cross_entropy(real, real_label) + _cross_entropy(fake, 0.0)


def non_saturating(fake):
    """Returns G's."""
    return _cross_entropy(fake, 1.0)


def hinge(real, fake, real_label):
    """Returns D's loss of logits, which knows no labels."""
    return F.relu(1.0 - real.float()).mean() + F.relu(1.0 + fake.float()).mean()


def negative_logits(fake):
    """Returns G's beside `hinge`."""
    return -fake.float().mean()


def pairing(real, fake, real_label):
    """Returns D's relativistic loss of logits, which knows no labels."""
    return F.softplus(fake.float() - real.float()).mean()


def pairing_generator(fake, real):
    """Returns G's beside `pairing`."""
    return F.softplus(real.float() - fake.float()).mean()


class Recipe(NamedTuple):
    """A published GAN: its networks and how they are trained.

    Attributes:
        build: A function that returns G and D.
        learning_rate: Adam's for both networks.
        beta_1: Adam's.
        real_label: D's target for real images.
        side: Of the images.
        convolutional: Whether channels_last is worth a trial.
        fresh_noise: For G's update; else one generated batch serves both.
        channels: Of the images.
        latent_dim: Length of the latents.
        classes: Their number, where both networks take labels; else 0.
        n_critic: Updates of D before each of G.
        d_loss: Of the logits for real and generated images, and `real_label`.
        g_loss: Of the logits for generated images, and for real ones where `relativistic`.
        beta_2: Adam's.
        g_learning_rate: Adam's for G; None for D's.
        joint: Whether D sees real and generated images in one batch, as it may without batch normalisation.
        relativistic: Whether G is told the logits for real images too.
        gamma: D's loss has half of it times R1 and R2; 0 for none.
    """

    build: Callable
    learning_rate: float = 2e-4
    beta_1: float = 0.5
    real_label: float = 1.0
    side: int = SIDE
    convolutional: bool = False
    fresh_noise: bool = False
    channels: int = 1
    latent_dim: int = LATENT_DIM
    classes: int = 0
    n_critic: int = 1
    d_loss: Callable = cross_entropy
    g_loss: Callable = non_saturating
    beta_2: float = 0.999
    g_learning_rate: float | None = None
    joint: bool = False
    relativistic: bool = False
    gamma: float = 0.0


RECIPES = {
    "mlp_small": Recipe(lambda: perceptrons((128,), (128,), alpha=0.01), 1e-3, 0.9, real_label=0.9),
    "mlp": Recipe(lambda: perceptrons((256, 512, 1024), (512, 256)), fresh_noise=True),
    "mlp_batchnorm": Recipe(lambda: perceptrons((128, 256, 512, 1024), (512, 256), batch_norm=True)),
    "dcgan": Recipe(dcgan_64, side=64, convolutional=True),
    "dcgan28": Recipe(dcgan_28, convolutional=True),
}
_recent = functools.partial(Recipe, beta_1=0.0, convolutional=True, joint=True)
_hinge = functools.partial(_recent, d_loss=hinge, g_loss=negative_logits)
_biggan = functools.partial(_hinge, n_critic=2, g_learning_rate=5e-5)
# Those that can only be timed. At 28x28 they are those of this package's recipes.
TIMED = {
    "biggan128": _biggan(biggan, side=128, channels=3, latent_dim=120, classes=1000),
    "stylegan2_256": _recent(stylegan2, 2e-3, side=256, channels=3, latent_dim=512, beta_2=0.99),
    "biggan28": _biggan(functools.partial(biggan, 28, 1, 10, 120, 8, 32, 14), latent_dim=120, classes=10),
    "sngan28": _hinge(functools.partial(sngan, 28, 1, 128, 32, 32), latent_dim=128, beta_2=0.9),
    "stylegan2_28": _recent(functools.partial(stylegan2, 28, 1, 64, 64, 4, 336, 64), 2e-3, latent_dim=64, beta_2=0.99),
    "r3gan28": _recent(
        r3gan,
        1e-3,
        latent_dim=64,
        classes=10,
        d_loss=pairing,
        g_loss=pairing_generator,
        beta_2=0.99,
        relativistic=True,
        gamma=0.5,
    ),
}


class Trainer:
    """The two networks, their optimizers and the step."""

    def __init__(self, recipe, batch_size, best):
        self.recipe, self.batch_size, self.best = recipe, batch_size, best
        self.networks = [network.to(DEVICE) for network in recipe.build()]
        self.use("eager")
        rates = recipe.g_learning_rate or recipe.learning_rate, recipe.learning_rate
        options = {"betas": (recipe.beta_1, recipe.beta_2), "fused": best}
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(network.parameters(), rate, **options)
            for network, rate in zip(self.networks, rates, strict=True)
        )
        self.dtype, self.format, self.mode = torch.float32, torch.contiguous_format, "float32, eager"
        self.scaler = torch.amp.GradScaler(DEVICE.type, enabled=False)

    def use(self, how):
        """Lets the step call the networks themselves, `eager`, or their `compiled` forms, which share the weights."""
        self.generator, self.discriminator = map(torch.compile, self.networks) if how == "compiled" else self.networks

    def go(self, precision, how):
        """Takes a precision, loss scaling included where it needs that, and the networks `eager` or `compiled`."""
        self.dtype = getattr(torch, precision)
        self.format = torch.channels_last if self.recipe.convolutional else torch.contiguous_format
        self.scaler = torch.amp.GradScaler(DEVICE.type, enabled=precision == "float16")
        for network in self.networks:
            network.to(memory_format=self.format)
        self.use(how)
        self.mode = f"{precision}, {str(self.format).removeprefix('torch.')}, {how}"

    def tune(self, real):
        """Finds the fastest way to step on batches such as `real`, without training."""
        parts = [*self.networks, self.g_optimizer, self.d_optimizer]
        states = [copy.deepcopy(part.state_dict()) for part in parts]

        def start(way):
            self.dtype, self.format = way
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(copy.deepcopy(state))
            for network in self.networks:
                network.to(memory_format=self.format)

        def trial(way):
            start(way)
            seconds: list[float] = []
            # Three of those that take long.
            while len(seconds) < (5 if self.recipe.convolutional else 50) and (len(seconds) < 3 or sum(seconds) < 5):
                seconds.append(_seconds(self.step, real))
            return min(seconds)

        formats = (torch.contiguous_format, torch.channels_last)[: 1 + self.recipe.convolutional]
        times = {way: trial(way) for way in itertools.product((torch.float32, torch.bfloat16), formats)}
        best = min(times, key=lambda way: times[way])
        self.use("compiled")
        try:
            with _at_most(COMPILE_SECONDS):
                compiled = trial(best)
        except Exception as error:  # of many kinds: Dynamo's, Inductor's, the C++ compiler's
            print(f"torch.compile failed, so the networks run eagerly: {str(error).strip().splitlines()[0]}")
            compiled = math.inf
        if compiled >= times[best]:
            self.use("eager")
        start(best)
        names = [str(name).removeprefix("torch.") for name in best]
        self.mode = ", ".join([*names, "compiled" if compiled < times[best] else "eager"])

    def step(self, real):
        """Updates D, then G, on uint8 images `(n_critic * batch, channels, side, side)`."""
        recipe = self.recipe
        real = (real.float() / 127.5 - 1.0).contiguous(memory_format=self.format)
        for part in real.chunk(recipe.n_critic):
            labels = self._draw_labels()
            with self._precision():
                fake = self._generate(labels)
                judged = [images.detach().requires_grad_(recipe.gamma > 0) for images in (part, fake)]
                logits = self._judge(judged, labels)
                d_loss = recipe.d_loss(*logits, recipe.real_label)
                if recipe.gamma:
                    d_loss = d_loss + recipe.gamma / 2 * _squared_gradients(logits, judged)
            self._minimize(self.d_optimizer, d_loss)
        self.networks[1].requires_grad_(not self.best)
        with self._precision():
            fake = self._generate(labels) if recipe.fresh_noise else fake
            logits = self._judge([fake, part] if recipe.relativistic else [fake], labels)
            g_loss = recipe.g_loss(*logits)
        self._minimize(self.g_optimizer, g_loss)
        self.networks[1].requires_grad_(True)

    def sample(self, num):
        """Returns uint8 images `(num, 28, 28, 1)`, drawn with moving statistics in float32."""
        generator = self.networks[0].eval()
        parts = []
        with torch.no_grad():
            for start in range(0, num, SAMPLE_BATCH):
                latents = torch.randn(min(SAMPLE_BATCH, num - start), self.recipe.latent_dim, device=DEVICE)
                images = generator(latents)
                if self.recipe.side != SIDE:
                    images = F.interpolate(images, (SIDE, SIDE), mode="area")
                parts.append(((images + 1.0) * 127.5).round().to(torch.uint8))
        generator.train()
        return torch.cat(parts).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _generate(self, labels):
        return self.generator(torch.randn(self.batch_size, self.recipe.latent_dim, device=DEVICE), *labels)

    def _judge(self, batches, labels):
        """Returns D's logits for each of some batches with the same labels."""
        if not self.recipe.joint:
            return [self.discriminator(images, *labels) for images in batches]
        labels = [numbers.repeat(len(batches)) for numbers in labels]
        return self.discriminator(torch.cat(batches), *labels).chunk(len(batches))

    def _draw_labels(self):
        """Returns a list of the batch's labels, random ones, as they cost what others do; empty without classes."""
        classes = self.recipe.classes
        return [torch.randint(classes, (self.batch_size,), device=DEVICE)] if classes else []

    def _minimize(self, optimizer, loss):
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()

    def _precision(self):
        return contextlib.nullcontext() if self.dtype == torch.float32 else torch.autocast(DEVICE.type, self.dtype)


def _squared_gradients(logits, batches):
    """Returns the sum of R1 and R2: the mean squared length of the gradients of logits by their images."""
    gradients = torch.autograd.grad(sum(part.float().sum() for part in logits), batches, create_graph=True)
    return sum(gradient.float().square().sum((1, 2, 3)).mean() for gradient in gradients)


def _cross_entropy(logits, label):
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


@contextlib.contextmanager
def _at_most(seconds):
    """Raises `TimeoutError` where the block takes longer."""

    def give_up(*_):
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _seconds(function, *args):
    began = time.perf_counter()
    function(*args)
    _finish()
    return time.perf_counter() - began


def _finish():
    """Waits for what has been given to a GPU."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def load_images(path, side, channels=1):
    """Returns the file's images as one uint8 tensor `(num, channels, side, side)`.

    Raises:
        ValueError: If they are no uint8 images `(num, 28, 28, 1)`.
    """
    loaded = np.load(path)
    images = loaded if isinstance(loaded, np.ndarray) else loaded["images"]
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 1):
        raise ValueError(f"{path} must hold uint8 images (N, 28, 28, 1). Received: {images.dtype} {images.shape}")
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if side == SIDE:
        return tensor.to(DEVICE)
    # In parts, as all of them in float32 would take a gigabyte.
    parts = [F.interpolate(part.float(), (side, side), mode="bilinear").round() for part in tensor.split(1000)]
    return torch.cat([part.to(torch.uint8) for part in parts]).expand(-1, channels, -1, -1).to(DEVICE)


def batches(images, batch_size):
    """Yields full batches without end, shuffled anew each epoch."""
    while True:
        for indices in torch.randperm(len(images)).split(batch_size):
            if len(indices) == batch_size:
                yield images[indices]


def train(trainer, images, marks, draw):
    """Trains, and calls `draw(mark, steps, seconds)` after each of some seconds, while the clock stands still.

    The clock starts after the warm-up.
    """
    warm_up, marks = 3 if trainer.best else 1, list(marks)
    if trainer.best:
        trainer.tune(images[: trainer.batch_size])
    began = math.inf
    for step, real in enumerate(batches(images, trainer.batch_size), start=1):
        trainer.step(real)
        if step == warm_up:
            _finish()
        now = time.perf_counter()
        if step == warm_up:
            began = now
        while marks and now - began >= marks[0]:
            _finish()
            draw(marks.pop(0), step - warm_up, time.perf_counter() - began)
            began += time.perf_counter() - now
            now = time.perf_counter()
        if not marks:
            return


def serve(trainer, feed, way=None):
    """Prints facts, then, for each number read from standard input, the seconds that so many steps take.

    Args:
        trainer: Has the step.
        feed: An iterator of what steps take.
        way: PRECISION:HOW, as `Trainer.go` has them.
    """
    if trainer.best:
        trainer.tune(next(feed))
    elif way:
        trainer.go(*way.split(":"))
    for _ in range(3):
        trainer.step(next(feed))
    _finish()
    print(json.dumps({"mode": trainer.mode, "versions": {"torch": torch.__version__}}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            trainer.step(next(feed))
        _finish()
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


def main():
    """Carries out the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=[*RECIPES, *TIMED], required=True)
    parser.add_argument("--data", required=True, help=".npz or .npy of uint8 images (N, 28, 28, 1)")
    parser.add_argument("--seconds", type=float, nargs="+", help="training times after which to draw")
    parser.add_argument("--out", type=pathlib.Path, help="the .npz of samples: NAME_SECONDS.npz is written of NAME.npz")
    parser.add_argument("--serve", action="store_true", help="take the numbers of steps read from standard input")
    ways = [f"{precision}:{how}" for precision in ("float32", "bfloat16", "float16") for how in ("eager", "compiled")]
    parser.add_argument("--way", choices=ways, help="how to train, with --serve")
    parser.add_argument("--num_samples", type=int, default=10_000)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--real_label", type=float, help="D's target for real images; default: as published")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--best", action="store_true", help="what a careful PyTorch user would pick")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    recipe = (RECIPES | TIMED)[args.model]
    if args.real_label is not None:
        recipe = recipe._replace(real_label=args.real_label)
    try:
        images = load_images(args.data, recipe.side, recipe.channels)
    except (OSError, KeyError, ValueError) as error:
        parser.error(f"--data: {error}")
    if not 2 <= args.batch_size <= len(images):
        parser.error(f"--batch_size must lie in [2, {len(images)}], the number of images. Received: {args.batch_size}")
    trainer = Trainer(recipe, args.batch_size, args.best)
    if args.serve:
        return serve(trainer, batches(images, args.batch_size * recipe.n_critic), args.way)
    if args.seconds is None or args.out is None or args.model in TIMED:
        parser.error(f"--seconds and --out are needed without --serve, and one of {', '.join(RECIPES)}.")
    done = []

    def draw(mark, steps, seconds):
        np.savez(args.out.with_stem(f"{args.out.stem}_{mark:g}"), images=trainer.sample(args.num_samples))
        rate = round(steps * args.batch_size / seconds, 1)
        done.append({"mark": mark, "seconds": round(seconds, 2), "steps": steps, "images_per_second": rate})

    train(trainer, images, args.seconds, draw)
    versions = {"torch": torch.__version__, "torch_python": platform.python_version()}
    print(json.dumps({"marks": done, "mode": trainer.mode, "versions": versions}))


if __name__ == "__main__":
    main()
