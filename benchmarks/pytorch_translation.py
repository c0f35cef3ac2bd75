"""Pix2Pix, CycleGAN and SRGAN in PyTorch, of the layers, widths and losses that `tfgan_app.models` gives them.

    python benchmarks/pytorch_translation.py --model=pix2pix256 --batch_size=1 [--best]

Takes the numbers of steps to make from standard input, as `pytorch_gans.py --serve`, on random pictures in memory.

Written from the papers, as a PyTorch user would. `--best` is what a careful one would make of it: what pytorch_gans.py
tries, no gradients of D's weights in G's update, and passes that wait for nothing in one batch, where no layer mixes
it. Where this differs from ours it favours PyTorch: it keeps no moving average of G, and Pix2Pix's networks normalise
by the batch as its program's do, the same for a batch of one picture and faster than by the image for more.
"""

import argparse
import random
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pytorch_gans import DEVICE, Trainer, serve
from torch import nn

POOL = 50


def patch_gan(channels, base=64, norm=nn.BatchNorm2d):
    """Returns the 70x70 PatchGAN."""
    biased = norm is not nn.BatchNorm2d
    widths = [base, 2 * base, 4 * base, 8 * base]
    layers = [nn.Conv2d(channels, base, 4, 2, 1), nn.LeakyReLU(0.2)]
    for width_in, width, stride in zip(widths, widths[1:], (2, 2, 1), strict=False):
        layers += [nn.Conv2d(width_in, width, 4, stride, 1, bias=biased), norm(width), nn.LeakyReLU(0.2)]
    return _initialised(nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1)))


class UNet(nn.Module):
    """Pix2Pix's U-Net with `depth` halvings."""

    def __init__(self, base=64, depth=8, channels=3):
        super().__init__()
        widths = [base * min(2**level, 8) for level in range(depth)]
        ins = [channels, *widths]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (width_in, width) in enumerate(zip(ins, widths, strict=False)):
            layers = [nn.LeakyReLU(0.2)] if level else []
            layers += [nn.Conv2d(width_in, width, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(width)] if 0 < level < depth - 1 else []
            self.down.append(nn.Sequential(*layers))
        for level in reversed(range(1, depth)):
            width_in = widths[level] * (1 if level == depth - 1 else 2)
            layers = [nn.ReLU(), nn.ConvTranspose2d(width_in, widths[level - 1], 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(widths[level - 1])]
            layers += [nn.Dropout(0.5)] if 4 <= level < depth - 1 else []
            self.up.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * base, channels, 4, 2, 1), nn.Tanh())
        _initialised(self)

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for layer in self.up:
            x = torch.cat([skips.pop(), layer(x)], dim=1)
        return self.last(x)


class Residual(nn.Module):
    """A residual block of CycleGAN's translators, or of SRResNet's."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


def resnet(base=64, blocks=6, channels=3):
    """Returns one of CycleGAN's translators."""

    def reflected(width_in, width, side):
        return [nn.ReflectionPad2d(side // 2), nn.Conv2d(width_in, width, side)]

    layers = [*reflected(channels, base, 7), nn.InstanceNorm2d(base), nn.ReLU()]
    for width in (2 * base, 4 * base):
        layers += [nn.Conv2d(width // 2, width, 3, 2, 1), nn.InstanceNorm2d(width), nn.ReLU()]
    for _ in range(blocks):
        first, second = (reflected(width, width, 3) for _ in range(2))
        layers.append(Residual(*first, nn.InstanceNorm2d(width), nn.ReLU(), *second, nn.InstanceNorm2d(width)))
    for width in (2 * base, base):
        layers += [nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), nn.InstanceNorm2d(width), nn.ReLU()]
    return _initialised(nn.Sequential(*layers, *reflected(base, channels, 7), nn.Tanh()))


class MSRResNet(nn.Module):
    """BasicSR's SRResNet, four times as large."""

    def __init__(self, base=64, blocks=16, channels=3):
        super().__init__()
        layers = [_same(channels, base), nn.LeakyReLU(0.1)]
        layers += [Residual(_same(base, base), nn.ReLU(), _same(base, base)) for _ in range(blocks)]
        for _ in range(2):
            layers += [_same(base, 4 * base), nn.PixelShuffle(2), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers, _same(base, base), nn.LeakyReLU(0.1), _same(base, channels))

    def forward(self, x):
        return self.layers(x) + F.interpolate(x, scale_factor=4, mode="bilinear")


def srgan_discriminator(side=96, base=64, units=1024, channels=3):
    """Returns SRGAN's discriminator."""
    layers = [_same(channels, base), nn.LeakyReLU(0.2)]
    width_in = base
    for factor, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
        layers += [nn.Conv2d(width_in, factor * base, 3, stride, 1), nn.BatchNorm2d(factor * base), nn.LeakyReLU(0.2)]
        width_in = factor * base
    layers += [nn.Flatten(), nn.Linear(width_in * (side // 16) ** 2, units), nn.LeakyReLU(0.2), nn.Linear(units, 1)]
    return nn.Sequential(*layers)


def _same(width_in, width):
    return nn.Conv2d(width_in, width, 3, 1, 1)


def _initialised(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return network


class Recipe(NamedTuple):
    """A translator: its networks and how they are trained.

    Attributes:
        build: Returns the lists of the generator's and the discriminator's networks.
        step: Of the trainer, a source and a target; returns nothing.
        source_side: Of the sources.
        side: Of the targets.
        learning_rate: Adam's for both networks.
        beta_1: Adam's.
        beta_2: Adam's.
    """

    build: Callable
    step: Callable
    source_side: int
    side: int
    learning_rate: float = 2e-4
    beta_1: float = 0.5
    beta_2: float = 0.999
    g_learning_rate: float | None = None
    convolutional: bool = True
    n_critic: int = 1


def step_pix2pix(trainer, source, target):
    """Cross-entropy of patches beside their sources, and 100 L1."""
    (generator,), (discriminator,) = trainer.called
    with trainer._precision():
        fake = generator(source)
        logits = [discriminator(torch.cat([source, image], dim=1)) for image in (target, fake.detach())]
        d_loss = 0.5 * (_cross_entropy(logits[0], 1.0) + _cross_entropy(logits[1], 0.0))
    trainer._minimize(trainer.d_optimizer, d_loss)
    with trainer.judging(), trainer._precision():
        g_loss = _cross_entropy(discriminator(torch.cat([source, fake], dim=1)), 1.0)
        g_loss = g_loss + 100.0 * F.l1_loss(fake.float(), target)
    trainer._minimize(trainer.g_optimizer, g_loss)


def step_cycle(trainer, a, b):
    """Least squares, 10 times the cycle and 5 times the identity; D learns from a pool of fakes."""
    (a_to_b, b_to_a), judges = trainer.called
    with trainer._precision():
        if trainer.best:
            (fake_b, same_b), (fake_a, same_a) = (
                network(torch.cat(pair)).chunk(2) for network, pair in ((a_to_b, [a, b]), (b_to_a, [b, a]))
            )
        else:
            fake_b, same_b, fake_a, same_a = a_to_b(a), a_to_b(b), b_to_a(b), b_to_a(a)
        pairs = [(b_to_a(fake_b), a, 10.0), (a_to_b(fake_a), b, 10.0), (same_a, a, 5.0), (same_b, b, 5.0)]
        content = sum(weight * F.l1_loss(image.float(), wanted) for image, wanted, weight in pairs)
    with trainer.judging(), trainer._precision():
        g_loss = content + sum(_squares(judge(fake), 1.0) for judge, fake in zip(judges, (fake_a, fake_b), strict=True))
    trainer._minimize(trainer.g_optimizer, g_loss)
    with trainer._precision():
        d_loss = 0.0
        for judge, real, fake, pool in zip(judges, (a, b), (fake_a, fake_b), trainer.pools, strict=True):
            shown = torch.stack([_pooled(image, pool) for image in fake.detach()])
            if trainer.best:
                logits = judge(torch.cat([real, shown.to(real.dtype)])).chunk(2)
            else:
                logits = judge(real), judge(shown)
            d_loss = d_loss + 0.5 * (_squares(logits[0], 1.0) + _squares(logits[1], 0.0))
    trainer._minimize(trainer.d_optimizer, d_loss)


def step_srgan(trainer, source, target):
    """Cross-entropy and pixels, without features of another network."""
    (generator,), (discriminator,) = trainer.called
    with trainer._precision():
        fake = generator(source)
        logits = discriminator(target), discriminator(fake.detach())
        d_loss = _cross_entropy(logits[0], 1.0) + _cross_entropy(logits[1], 0.0)
    trainer._minimize(trainer.d_optimizer, d_loss)
    with trainer.judging(), trainer._precision():
        g_loss = 5e-3 * (_cross_entropy(discriminator(fake), 1.0) + F.l1_loss(fake.float(), target))
    trainer._minimize(trainer.g_optimizer, g_loss)


def step_pixels(trainer, source, target):
    """SRGAN's first phase."""
    with trainer._precision():
        loss = F.l1_loss(trainer.called[0][0](source).float(), target)
    trainer._minimize(trainer.g_optimizer, loss)


def _cross_entropy(logits, label):
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _squares(logits, label):
    return (logits.float() - label).square().mean()


def _pooled(image, pool):
    """Returns an image or an earlier one, whose place it takes."""
    if len(pool) < POOL:
        pool.append(image)
        return image
    if random.random() < 0.5:
        return image
    place = random.randrange(POOL)
    earlier, pool[place] = pool[place], image
    return earlier


def _build_cycle():
    judges = [patch_gan(3, norm=nn.InstanceNorm2d) for _ in range(2)]
    return [resnet(), resnet()], judges


def _build_srgan():
    return [MSRResNet()], [srgan_discriminator()]


RECIPES = {
    "pix2pix256": Recipe(lambda: ([UNet()], [patch_gan(6)]), step_pix2pix, 256, 256),
    "cycle128": Recipe(_build_cycle, step_cycle, 128, 128),
    "srgan96": Recipe(_build_srgan, step_srgan, 24, 96, 1e-4, 0.9, 0.99),
    "srgan96_pixels": Recipe(_build_srgan, step_pixels, 24, 96, 2e-4, 0.9, 0.99),
}


class Translation(Trainer):
    """Networks of a translator, their optimizers and the step."""

    def __init__(self, recipe, batch_size, best):
        super().__init__(recipe._replace(build=lambda: map(nn.ModuleList, recipe.build())), batch_size, best)
        self.pools: list[list] = [[], []]
        self.use("eager")

    def use(self, how):
        """Takes the networks `eager` or `compiled`."""
        wrap = torch.compile if how == "compiled" else lambda network: network
        self.called = [[wrap(network) for network in player] for player in self.networks]

    def step(self, real):
        """Makes a step on uint8 pictures, sources and targets."""
        source, target = ((x.float() / 127.5 - 1.0).contiguous(memory_format=self.format) for x in real)
        self.recipe.step(self, source, target)

    def judging(self):
        """Returns a context in which the discriminator judges for the generator's update."""
        return _Frozen(self.networks[1]) if self.best else torch.enable_grad()


class _Frozen:
    """A context in which the weights of some networks need no gradients."""

    def __init__(self, networks):
        self.networks = networks

    def __enter__(self):
        self.networks.requires_grad_(False)

    def __exit__(self, *_):
        self.networks.requires_grad_(True)


def pairs(recipe, batch_size):
    """Yields batches of random pictures without end, from as many as fit in little memory."""
    sides = recipe.source_side, recipe.side
    held = [torch.randint(0, 256, (8 * batch_size, 3, side, side), dtype=torch.uint8, device=DEVICE) for side in sides]
    while True:
        for indices in torch.randperm(len(held[0])).split(batch_size):
            yield [pictures[indices] for pictures in held]


def main():
    """Serves training steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(RECIPES), required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--best", action="store_true", help="what a careful PyTorch user would pick")
    ways = [f"{precision}:{how}" for precision in ("float32", "bfloat16", "float16") for how in ("eager", "compiled")]
    parser.add_argument("--way", choices=ways, help="how to train")
    args = parser.parse_args()
    torch.manual_seed(0)
    recipe = RECIPES[args.model]
    serve(Translation(recipe, args.batch_size, args.best), pairs(recipe, args.batch_size), args.way)


if __name__ == "__main__":
    sys.exit(main())
