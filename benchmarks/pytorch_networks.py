"""BigGAN, SNGAN, StyleGAN2 and R3GAN in PyTorch, of the layers and widths that `tfgan_app.models` gives them.

Written from the papers, as a PyTorch user would: its own spectral normalisation, and StyleGAN2's weights modulated
for each image by grouped convolutions (Karras et al. 2019, https://arxiv.org/abs/1912.04958, appendix B).
"""

import functools
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def _start_and_doublings(side):
    """Returns the smallest side, of 4 at least, and how often it doubles to a square image's."""
    doublings = 0
    while side % 2 == 0 and side >= 8:
        side, doublings = side // 2, doublings + 1
    return side, doublings


# BigGAN: Brock et al. 2018, https://arxiv.org/abs/1809.11096, figure 15 and table 4. SNGAN: Miyato et al. 2018,
# https://arxiv.org/abs/1802.05957, table 3.


def _conv(width_in, width, side=3, bias=True, init=nn.init.orthogonal_, spectral=True):
    layer = nn.Conv2d(width_in, width, side, padding=side // 2, bias=bias)
    init(layer.weight)
    return spectral_norm(layer) if spectral else layer


def _dense(width_in, width, bias=True):
    layer = nn.Linear(width_in, width, bias=bias)
    nn.init.orthogonal_(layer.weight)
    return spectral_norm(layer)


class ConditionalNorm(nn.Module):
    """Batch normalisation with scale and offset from a condition."""

    def __init__(self, width, condition):
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.scale, self.offset = _dense(condition, width, bias=False), _dense(condition, width, bias=False)

    def forward(self, x, condition):
        scale, offset = (layer(condition)[:, :, None, None] for layer in (self.scale, self.offset))
        return self.norm(x) * (1.0 + scale) + offset


class Attention(nn.Module):
    """Self-attention, Zhang et al. 2018, https://arxiv.org/abs/1805.08318, by PyTorch's fused kernel."""

    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.values = (_conv(width, width // part, 1, bias=False) for part in (8, 8, 2))
        self.project = _conv(width // 2, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        query, key, values = self.query(x), F.max_pool2d(self.key(x), 2), F.max_pool2d(self.values(x), 2)
        rows = [part.flatten(2).transpose(1, 2) for part in (query, key, values)]
        attended = F.scaled_dot_product_attention(*rows, scale=1.0).transpose(1, 2)
        return x + self.gamma * self.project(attended.unflatten(2, x.shape[2:]))


class GeneratorBlock(nn.Module):
    """Doubles the sides."""

    def __init__(self, width_in, width, norm, conv=_conv):
        super().__init__()
        self.norms = nn.ModuleList([norm(width_in), norm(width)])
        self.convs = nn.ModuleList([conv(width_in, width), conv(width, width)])
        self.shortcut = conv(width_in, width, 1)

    def forward(self, x, *condition):
        shortcut = F.interpolate(self.shortcut(x), scale_factor=2)
        x = self.convs[0](F.interpolate(F.relu(self.norms[0](x, *condition)), scale_factor=2))
        return shortcut + self.convs[1](F.relu(self.norms[1](x, *condition)))


class BigGANGenerator(nn.Module):
    """Latents and labels -> images."""

    def __init__(self, side, channels, classes, latent_dim, base, embedding_dim, attention_at):
        super().__init__()
        self.start, doublings = _start_and_doublings(side)
        factors = (4,) * (doublings + 1) if side <= 32 else (1, 2, 4, 8, 16, 16)[: doublings + 1]
        widths = [base * factor for factor in factors][::-1]
        self.parts = len(widths)
        part = latent_dim // self.parts
        self.embedding = nn.Embedding(classes, embedding_dim)
        self.first = _dense(part, self.start**2 * widths[0])
        norm = functools.partial(ConditionalNorm, condition=embedding_dim + part)
        self.blocks = nn.ModuleList([GeneratorBlock(*pair, norm) for pair in itertools.pairwise(widths)])
        sides = [self.start << index for index in range(1, self.parts)]
        self.attend_after = sides.index(attention_at) if attention_at in sides else None
        self.attention = Attention(widths[self.attend_after + 1]) if self.attend_after is not None else nn.Identity()
        self.norm, self.last = nn.BatchNorm2d(widths[-1]), _conv(widths[-1], channels)

    def forward(self, latents, labels):
        first, *parts = latents.chunk(self.parts, dim=1)
        embedding = self.embedding(labels)
        x = self.first(first).unflatten(1, (-1, self.start, self.start))
        for index, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            x = block(x, torch.cat([embedding, part], dim=1))
            x = self.attention(x) if index == self.attend_after else x
        return torch.tanh(self.last(F.relu(self.norm(x))))


class DiscriminatorBlock(nn.Module):
    """Halves the sides or keeps them."""

    def __init__(self, width_in, width, first, down, conv=_conv):
        super().__init__()
        self.first, self.down = first, down
        self.convs = nn.ModuleList([conv(width_in, width), conv(width, width)])
        self.shortcut = conv(width_in, width, 1) if down or width != width_in else nn.Identity()

    def forward(self, x):
        shortcut = F.avg_pool2d(x, 2) if self.down else x
        x = self.convs[1](F.relu(self.convs[0](x if self.first else F.relu(x))))
        return self.shortcut(shortcut) + (F.avg_pool2d(x, 2) if self.down else x)


class BigGANDiscriminator(nn.Module):
    """Images and labels -> logits, by projection."""

    def __init__(self, side, channels, classes, base, attention_at):
        super().__init__()
        _, doublings = _start_and_doublings(side)
        factors = (4, 4, 4, 4) if side <= 32 else (1, 2, 4, 8, 16, 16)[: doublings + 1]
        widths = [base * factor for factor in factors]
        halvings = 2 if side <= 32 else doublings
        ins = [channels, *widths]
        self.blocks = nn.ModuleList()
        for index, (width_in, width) in enumerate(zip(ins, widths, strict=False)):
            self.blocks.append(DiscriminatorBlock(width_in, width, index == 0, index < halvings))
            side = side // 2 if index < halvings else side
            if side == attention_at:
                self.blocks.append(Attention(width))
        self.logits = _dense(widths[-1], 1)
        self.embedding = spectral_norm(nn.Embedding(classes, widths[-1]))

    def forward(self, images, labels):
        x = images
        for block in self.blocks:
            x = block(x)
        features = F.relu(x).float().sum((2, 3))
        return self.logits(features) + (self.embedding(labels) * features).sum(1, keepdim=True)


def biggan(side=128, channels=3, classes=1000, latent_dim=120, base=96, embedding_dim=128, attention_at=64):
    """Returns BigGAN's networks, without orthogonal regularisation, for sides to 32 or from 128 on."""
    generator = BigGANGenerator(side, channels, classes, latent_dim, base, embedding_dim, attention_at)
    return generator, BigGANDiscriminator(side, channels, classes, base, attention_at)


class SumOverPositions(nn.Module):
    """Features of maps, in float32."""

    def forward(self, x):
        return F.relu(x).float().sum((2, 3))


def sngan(side=32, channels=3, latent_dim=128, g_width=256, d_width=128):
    """Returns SNGAN's networks, for sides to 32."""
    plain = functools.partial(_conv, init=nn.init.xavier_uniform_, spectral=False)
    spectral = functools.partial(_conv, init=nn.init.xavier_uniform_)
    start, doublings = _start_and_doublings(side)
    generator = nn.Sequential(
        nn.Linear(latent_dim, start**2 * g_width),
        nn.Unflatten(1, (g_width, start, start)),
        *[GeneratorBlock(g_width, g_width, nn.BatchNorm2d, plain) for _ in range(doublings)],
        nn.BatchNorm2d(g_width),
        nn.ReLU(),
        plain(g_width, channels),
        nn.Tanh(),
    )
    blocks = [DiscriminatorBlock(d_width if i else channels, d_width, i == 0, i < 2, spectral) for i in range(4)]
    return generator, nn.Sequential(*blocks, SumOverPositions(), spectral_norm(nn.Linear(d_width, 1)))


# StyleGAN2.


class EqualizedDense(nn.Module):
    """A dense layer with an equalised learning rate."""

    def __init__(self, width_in, width, multiplier=1.0, bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width_in) / multiplier)
        self.bias = nn.Parameter(torch.full((width,), bias))
        self.multiplier, self.scale = multiplier, multiplier / math.sqrt(width_in)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias * self.multiplier)


class EqualizedConv(nn.Module):
    """A convolution with an equalised learning rate."""

    def __init__(self, width_in, width, side, stride=1, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width_in, side, side))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.scale, self.stride = 1 / math.sqrt(width_in * side**2), stride
        # A filter ahead of a stride has padded already.
        self.padding = 0 if stride > 1 else side // 2

    def forward(self, x):
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


def _activate(x):
    return math.sqrt(2) * F.leaky_relu(x, 0.2)


class Binomial(nn.Module):
    """The filter [1, 3, 3, 1], with a padding or a stride, or doubling the sides."""

    def __init__(self, padding=1, stride=1, double=False):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(taps, taps) / (16 if double else 64))
        self.convolve = F.conv_transpose2d if double else F.conv2d
        self.options = {"stride": 2 if double else stride, "padding": padding}

    def forward(self, x):
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return self.convolve(x, kernel, groups=channels, **self.options)


class ModulatedConv(nn.Module):
    """A convolution whose weights are scaled by a style and normalised, for each image."""

    def __init__(self, width_in, width, side, style_dim, demodulate=True, upsample=False):
        super().__init__()
        self.style = EqualizedDense(style_dim, width_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(width, width_in, side, side))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = 1 / math.sqrt(width_in * side**2)
        self.demodulate, self.upsample, self.padding = demodulate, upsample, side // 2
        self.smooth = Binomial()

    def forward(self, x, w):
        batch, _, height, side = x.shape
        weight = self.weight * self.scale * self.style(w)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.float().square().sum((2, 3, 4), keepdim=True) + 1e-8)
        weight, x = weight.to(x.dtype), x.reshape(1, -1, height, side)
        if self.upsample:
            weight = weight.transpose(1, 2).flatten(0, 1)
            # Four times, as three of four pixels are the zeros between the others.
            x = 4.0 * F.conv_transpose2d(x, weight, None, 2, 0, 0, batch)
            x = self.smooth(x.reshape(batch, -1, *x.shape[2:]))
        else:
            x = F.conv2d(x, weight.flatten(0, 1), None, 1, self.padding, 1, batch)
            x = x.reshape(batch, -1, *x.shape[2:])
        return x + self.bias.to(x.dtype)[:, None, None]


class StyleLayer(nn.Module):
    """A modulated convolution, noise and activation."""

    def __init__(self, width_in, width, style_dim, upsample=False):
        super().__init__()
        self.conv = ModulatedConv(width_in, width, 3, style_dim, upsample=upsample)
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x, w):
        x = self.conv(x, w)
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device, dtype=x.dtype)
        return _activate(x + self.strength.to(x.dtype) * noise)


class StyleGAN2Generator(nn.Module):
    """Latents -> images, with style mixing."""

    def __init__(self, start, channels, widths, latent_dim, style_dim, mapping_layers, mixing=0.9):
        super().__init__()
        ins = [latent_dim] + [style_dim] * (mapping_layers - 1)
        self.mapping = nn.ModuleList([EqualizedDense(width, style_dim, 0.01) for width in ins])
        self.constant = nn.Parameter(torch.randn(1, widths[0], start, start))
        self.layers = nn.ModuleList([StyleLayer(widths[0], widths[0], style_dim)])
        for width_in, width in itertools.pairwise(widths):
            self.layers += [StyleLayer(width_in, width, style_dim, upsample=True), StyleLayer(width, width, style_dim)]
        self.images = nn.ModuleList(
            [ModulatedConv(width, channels, 1, style_dim, demodulate=False) for width in widths]
        )
        self.mixing = mixing
        self.upsample = Binomial(double=True)
        self.register_buffer("mean", torch.zeros(style_dim))

    def f(self, latents):
        """The mapping network."""
        with torch.autocast(latents.device.type, enabled=False):
            x = latents * torch.rsqrt(latents.square().mean(1, keepdim=True) + 1e-8)
            for layer in self.mapping:
                x = _activate(layer(x))
            return x

    def forward(self, latents):
        styles = 2 * len(self.images)
        first, second = self.f(latents), self.f(torch.randn_like(latents))
        self.mean.lerp_(first.detach().mean(0), 0.005)
        draws = torch.rand(2, len(latents), 1, 1, device=latents.device)
        crossover = 1 + (draws[0] * (styles - 1)).long()
        late = torch.arange(styles, device=latents.device)[None, :, None] >= crossover
        w = torch.where(late & (draws[1] < self.mixing), second[:, None], first[:, None])
        x = self.layers[0](self.constant.expand(len(latents), -1, -1, -1), w[:, 0])
        images = self.images[0](x, w[:, 1])
        for index, image in enumerate(self.images[1:], start=1):
            x = self.layers[2 * index - 1](x, w[:, 2 * index - 1])
            x = self.layers[2 * index](x, w[:, 2 * index])
            images = self.upsample(images) + image(x, w[:, 2 * index + 1])
        return images.float()


class StyleGAN2Block(nn.Module):
    """A residual block that halves the sides."""

    def __init__(self, width_in, width):
        super().__init__()
        self.skip = EqualizedConv(width_in, width, 1, bias=False)
        self.first, self.second = EqualizedConv(width_in, width_in, 3), EqualizedConv(width_in, width, 3, stride=2)
        self.halve, self.smooth = Binomial(stride=2), Binomial(padding=2)

    def forward(self, x):
        skip = self.skip(self.halve(x))
        x = _activate(self.second(self.smooth(_activate(self.first(x)))))
        return (x + skip) * math.sqrt(0.5)


class StyleGAN2Discriminator(nn.Module):
    """Images -> logits."""

    def __init__(self, start, channels, widths, group_size=4):
        super().__init__()
        widths = widths[::-1]
        self.first = EqualizedConv(channels, widths[0], 1)
        self.blocks = nn.Sequential(*[StyleGAN2Block(*pair) for pair in itertools.pairwise(widths)])
        self.last = EqualizedConv(widths[-1] + 1, widths[-1], 3)
        self.dense, self.logits = EqualizedDense(start**2 * widths[-1], widths[-1]), EqualizedDense(widths[-1], 1)
        self.group_size = group_size

    def forward(self, images):
        x = self.blocks(_activate(self.first(images)))
        groups = max(1, len(x) // self.group_size)
        spread = x.float().unflatten(0, (groups, -1)).var(1, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3))
        spread = spread.to(x.dtype).repeat_interleave(len(x) // groups)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        x = _activate(self.last(torch.cat([x, spread], dim=1)))
        return self.logits(_activate(self.dense(x.flatten(1))))


def stylegan2(
    side=256, channels=3, latent_dim=512, style_dim=512, mapping_layers=8, channel_base=16384, channel_max=512
):
    """Returns StyleGAN2's networks."""
    start, doublings = _start_and_doublings(side)
    widths = [min(channel_base // (start << index), channel_max) for index in range(doublings + 1)]
    generator = StyleGAN2Generator(start, channels, widths, latent_dim, style_dim, mapping_layers)
    return generator, StyleGAN2Discriminator(start, channels, widths)


# R3GAN: Huang et al. 2024, https://arxiv.org/abs/2501.05441, section 4.


def _started(layer, fan_in, gain=1.0):
    """Returns a layer whose weights start from N(0, (gain / sqrt(fan_in))^2), and biases from 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _pointwise(width_in, width):
    return _started(nn.Conv2d(width_in, width, 1, bias=False), width_in)


class R3GANBlock(nn.Module):
    """Widens, convolves in groups and narrows; starts as the identity."""

    def __init__(self, width, groups, depth, expansion=2):
        super().__init__()
        inner = expansion * width
        gain = math.sqrt(2 / 1.04) * depth**-0.25
        self.layers = nn.Sequential(
            _started(nn.Conv2d(width, inner, 1), width, gain),
            nn.LeakyReLU(0.2),
            _started(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), 9 * inner // groups, gain),
            nn.LeakyReLU(0.2),
            _started(nn.Conv2d(inner, width, 1, bias=False), inner, 0.0),
        )

    def forward(self, x):
        return x + self.layers(x)


class R3GANGenerator(nn.Module):
    """Latents and labels -> images. A block at each resolution."""

    def __init__(self, side, channels, classes, latent_dim, widths, groups):
        super().__init__()
        start, _ = _start_and_doublings(side)
        self.embedding = _started(nn.Embedding(classes, latent_dim), classes)
        self.first = _started(nn.Linear(2 * latent_dim, widths[0], bias=False), 2 * latent_dim)
        self.patterns = nn.Parameter(torch.randn(widths[0], start, start))
        layers = [R3GANBlock(widths[0], groups[0], len(widths))]
        for (width_in, width), cardinality in zip(itertools.pairwise(widths), groups[1:], strict=True):
            layers += [_pointwise(width_in, width), Binomial(double=True), R3GANBlock(width, cardinality, len(widths))]
        self.layers = nn.Sequential(*layers, _pointwise(widths[-1], channels))

    def forward(self, latents, labels):
        x = self.first(torch.cat([latents, self.embedding(labels)], dim=1))
        return self.layers(x[:, :, None, None] * self.patterns).float()


class R3GANDiscriminator(nn.Module):
    """Images and labels -> logits, products of features with an embedding."""

    def __init__(self, side, channels, classes, widths, groups):
        super().__init__()
        start, _ = _start_and_doublings(side)
        layers = [_pointwise(channels, widths[-1])]
        for (width, width_in), cardinality in zip([*itertools.pairwise(widths)][::-1], groups[:0:-1], strict=True):
            layers += [
                R3GANBlock(width_in, cardinality, len(widths)),
                Binomial(stride=2),
                _pointwise(width_in, width),
            ]
        last = _started(nn.Conv2d(widths[0], widths[0], start, groups=widths[0], bias=False), start**2)
        dense = _started(nn.Linear(widths[0], widths[0], bias=False), widths[0])
        self.layers = nn.Sequential(*layers, R3GANBlock(widths[0], groups[0], len(widths)), last, nn.Flatten(), dense)
        self.embedding = _started(nn.Embedding(classes, widths[0]), widths[0] * classes)

    def forward(self, images, labels):
        return (self.layers(images).float() * self.embedding(labels)).sum(1, keepdim=True)


def r3gan(side=28, channels=1, classes=10, latent_dim=64, widths=(64, 32, 8), groups=(8, 4, 1)):
    """Returns R3GAN's networks, told the class, of a block a stage."""
    generator = R3GANGenerator(side, channels, classes, latent_dim, widths, groups)
    return generator, R3GANDiscriminator(side, channels, classes, widths, groups)
