"""tfgan_app.modalities.image_files: every format, mode, turn and kind of metadata, pixel by pixel."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from tfgan_app.modalities import image_files, values

SIGNED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "DDS", "ICO", "PCX", "QOI", "SGI")


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", SIGNED)
def test_images_are_told_by_their_first_bytes(kind):
    assert image_files.looks_like_image(encoded(Image.new("RGB", (16, 16), "red"), kind)[:64])


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\xff\x0a\xfa", b"P7\nWIDTH 3", b"8BPS\0\1", b"\x59\xa6\x6a\x95"]
)
def test_images_of_formats_that_cannot_be_made_here_are_told(head):
    assert image_files.looks_like_image(head)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<html>404</html>",
        b"Python 3 and other notes",
        b"BMW and other cars, of a class each",
        b"Please read me",
        b'{"labels": []}',
        b"PK\x03\x04",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"\0\0\0\x20ftypisom\0\0\2\0",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"II and MM",
        b"\x7fELF",
        b"\x93NUMPY",
    ],
)
def test_what_is_no_image_is_not_taken_for_one(head):
    assert not image_files.looks_like_image(head)


# Values, pixel by pixel.

RNG = np.random.default_rng(0)
SHAPE = (7, 10)  # not square, and odd
COLOURS = RNG.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
GREYS = COLOURS[..., 0]
DEEP = RNG.integers(0, 65536, (*SHAPE, 3)).astype(np.uint16)
ALPHAS = RNG.integers(0, 256, SHAPE, dtype=np.uint8)


def on_white(colours, alphas):
    """The exact blend, which 8-bit arithmetic meets to within one level."""
    opacity = alphas[..., None] / 255
    return colours * opacity + 255 * (1 - opacity)


def to_8(values, high=65535):
    return np.round(values / high * 255)


def with_alpha(array):
    return Image.fromarray(np.dstack([array, ALPHAS]))


def palette_image():
    image = Image.frombytes("P", SHAPE[::-1], bytes(range(70)))
    image.putpalette(COLOURS.tobytes())
    return image


def png(values, *, interlaced=False, chunks_before=(), chunks_behind=(), transparency=None):
    """A PNG of 16 bits, `(height, width, channels)`, which Pillow does not write in colour."""
    height, width, channels = values.shape

    def rows(part):
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in part) if part.size else b""

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    found = (rows(values[y::dy, x::dx]) for y, x, dy, dx in passes) if interlaced else [rows(values)]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *chunks_before, (b"IDAT", zlib.compress(b"".join(found))), *chunks_behind]
    if transparency is not None:
        chunks.insert(1, (b"tRNS", struct.pack(f">{channels}H", *transparency)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in [*chunks, (b"IEND", b"")])


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(stored, compression=1, orientation=1, extra=2, kind=1):
    """A TIFF of values `(height, width, channels)` of 8 or 16 bits; Pillow writes neither 16 bits in colour nor La."""
    height, width, channels = stored.shape
    bits = 8 * stored.itemsize
    strip = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    strip = zlib.compress(strip) if compression == 8 else strip
    shorts = [(256, width), (257, height), (258, bits), (259, compression), (262, 1 if channels < 3 else 2)]
    shorts += [(273, 0), (274, orientation), (277, channels), (278, height), (279, len(strip)), (284, 1)]
    shorts += [(338, extra)] * (channels in (2, 4)) + [(339, kind)]
    behind = 8 + 2 + 12 * len(shorts) + 4
    entries = b""
    for tag, value in shorts:
        if tag in (258, 339):  # one for each channel, in the entry itself where there are no more than two
            there = struct.pack("<I", behind + (8 if tag == 339 else 0))
            here = struct.pack("<HH", value, value if channels > 1 else 0)
            entries += struct.pack("<HHI", tag, 3, channels) + (there if channels > 2 else here)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, behind + 16 if tag == 273 else value)
    lists = struct.pack("<4H4H", *[bits] * 4, *[kind] * 4)
    return struct.pack("<2sHIH", b"II", 42, 8, len(shorts)) + entries + bytes(4) + lists + strip


def lossless():
    """Pairs of an encoded image and what it shows, by name."""
    grey, colour = Image.fromarray(GREYS), Image.fromarray(COLOURS)
    bits = Image.fromarray(GREYS > 127)
    cases = {}
    for kind in ("PNG", "BMP", "DIB", "PCX", "PPM", "SGI", "TGA", "TIFF", "DDS", "JPEG2000"):
        options = {"irreversible": False} if kind == "JPEG2000" else {}
        cases[f"{kind} L"] = encoded(grey, kind, **options), GREYS
        cases[f"{kind} RGB"] = encoded(colour, kind, **options), COLOURS
    for kind in ("PNG", "BMP", "PCX", "PPM", "TGA", "TIFF"):
        cases[f"{kind} 1"] = encoded(bits, kind), 255 * (GREYS > 127)
    for kind in ("PNG", "BMP", "GIF", "PCX", "TGA", "TIFF"):
        cases[f"{kind} P"] = encoded(palette_image(), kind), COLOURS.reshape(-1, 3)[:70].reshape(*SHAPE, 3)
    for kind in ("PNG", "TIFF", "TGA", "DDS", "QOI", "SGI", "JPEG2000", "ICO"):
        if kind not in ("QOI", "SGI"):
            cases[f"{kind} LA"] = encoded(with_alpha(GREYS), kind), on_white(GREYS[..., None], ALPHAS)[..., 0]
        cases[f"{kind} RGBA"] = encoded(with_alpha(COLOURS), kind), on_white(COLOURS, ALPHAS)
    cases["QOI RGB"] = encoded(colour, "QOI"), COLOURS
    cases["WEBP RGB"] = encoded(colour, "WEBP", lossless=True), COLOURS
    premultiplied = np.uint8(np.round(COLOURS * (ALPHAS[..., None] / 255)))
    for name, channels in (("La", 1), ("RGBa", 3)):
        stored = np.dstack([premultiplied[..., :channels], ALPHAS])
        expected = on_white(COLOURS[..., :channels], ALPHAS)
        cases[f"TIFF {name}"] = tiff(stored, extra=1), expected[..., 0] if channels == 1 else expected
    cases["TIFF PA"] = encoded(grey.convert("PA"), "TIFF"), np.dstack([GREYS] * 3)
    cases["TIFF CMYK"] = (
        encoded(
            Image.merge("CMYK", [*map(Image.fromarray, np.moveaxis(255 - COLOURS, 2, 0)), Image.new("L", SHAPE[::-1])]),
            "TIFF",
        ),
        COLOURS,
    )
    cases["TIFF LAB"] = encoded(Image.new("LAB", SHAPE[::-1], (128, 128, 128)), "TIFF"), np.full((*SHAPE, 3), 119)
    cases["TIFF YCbCr"] = encoded(Image.new("YCbCr", SHAPE[::-1], (90, 128, 128)), "TIFF"), np.full((*SHAPE, 3), 90)
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        cases[f"TIFF {name}"] = encoded(colour, "TIFF", compression=name), COLOURS
    clear = COLOURS.astype(float)
    clear[0, 0] = 255
    cases["PNG clear colour"] = encoded(colour, "PNG", transparency=tuple(map(int, COLOURS[0, 0]))), clear
    clear = clear.copy()
    clear[0, 1] = on_white(COLOURS[:1, 1:2], np.array([[128]]))[0, 0]
    cases["PNG clear palette"] = encoded(palette_image(), "PNG", transparency=bytes([0, 128])), clear
    # Of more than 8 bits.
    deep_grey = Image.fromarray(DEEP[..., 0])
    for kind in ("PNG", "TIFF", "PPM", "JPEG2000"):
        options = {"irreversible": False} if kind == "JPEG2000" else {}
        cases[f"{kind} I;16"] = encoded(deep_grey, kind, **options), to_8(DEEP[..., 0])
    cases["TIFF I;16B"] = encoded(Image.fromarray(DEEP[..., 0].astype(">u2")), "TIFF"), to_8(DEEP[..., 0])
    cases["PPM RGB 16"] = b"P6 10 7 65535\n" + DEEP.astype(">u2").tobytes(), to_8(DEEP)
    four = np.dstack([DEEP, 257 * ALPHAS.astype(np.uint16)])
    for name, options in (("", {}), (" interlaced", {"interlaced": True})):
        cases[f"PNG 16 L{name}"] = png(DEEP[..., :1], **options), to_8(DEEP[..., 0])
        cases[f"PNG 16 LA{name}"] = png(four[..., 2:], **options), on_white(to_8(DEEP[..., 2:]), ALPHAS)[..., 0]
        cases[f"PNG 16 RGB{name}"] = png(DEEP, **options), to_8(DEEP)
        cases[f"PNG 16 RGBA{name}"] = png(four, **options), on_white(to_8(DEEP), ALPHAS)
    for compression in (1, 8):
        cases[f"TIFF 16 RGB {compression}"] = tiff(DEEP, compression), to_8(DEEP)
        cases[f"TIFF 16 RGBA {compression}"] = tiff(four, compression), on_white(to_8(DEEP), ALPHAS)
    clear = to_8(DEEP)
    clear[0, 0] = 255
    cases["PNG 16 clear colour"] = png(DEEP, transparency=DEEP[0, 0]), clear
    return cases


LOSSLESS = lossless()


def shown(data, **options):
    """What is read of an image, which its header must agree with."""
    header = image_files.read_header(data)
    image = image_files.read_image(data, 1 if header.grey else 3, **options)
    assert image.dtype == np.uint8 and image.shape == (header.height, header.width, 1 if header.grey else 3)
    return image[..., 0] if header.grey else image


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_images_are_read_as_they_are(name):
    data, expected = LOSSLESS[name]
    got = shown(data)
    if got.ndim > np.ndim(expected):  # grey that the format has as colour or as a palette
        expected = np.dstack([expected] * 3)
    blended = any(word in name for word in ("A", "clear"))
    np.testing.assert_allclose(got, expected, atol=3 if name in ("TIFF La", "TIFF RGBa") else 1 if blended else 0)
    # Of deep PPMs in colour Pillow gives 8 bits.
    assert (image_files.read_header(data).bits > 8) == ("16" in name and name != "PPM RGB 16")


SMOOTH = np.uint8(np.indices((32, 48, 3)).sum(0) * 3)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 98}),
        ("JPEG", "RGB", {"quality": 98, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 98}),
        ("JPEG", "L", {"quality": 98}),
        ("WEBP", "RGB", {"quality": 98}),
        ("AVIF", "RGB", {"quality": 98}),
        ("JPEG2000", "RGB", {"irreversible": True}),
        ("MPO", "RGB", {"quality": 98}),
    ],
)
def test_lossy_images_are_read_nearly_as_they_are(kind, mode, options):
    image = Image.fromarray(SMOOTH).convert(mode)
    expected = np.asarray(image if mode == "L" else image.convert("RGB"), float)
    assert np.abs(shown(encoded(image, kind, **options)) - expected).mean() < 3


def oriented(array, orientation):
    """What viewers show of an array stored under an orientation tag."""
    turned = array.swapaxes(0, 1) if orientation > 4 else array
    return turned[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]


def exif(orientation, order="<"):
    mark = b"II" if order == "<" else b"MM"
    return struct.pack(order + "2sHIHHHIHHI", mark, 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def xmp(orientation):
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def turned_images(orientation):
    colour, smooth = Image.fromarray(COLOURS), Image.fromarray(SMOOTH)
    tag, other = (b"Exif\0\0" + exif(orientation, order) for order in "<>")
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation)
    return {
        "JPEG": encoded(smooth, "JPEG", exif=tag, quality=98),
        "JPEG big-endian": encoded(smooth, "JPEG", exif=other, quality=98),
        "JPEG XMP": encoded(smooth, "JPEG", xmp=xmp(orientation), quality=98),
        "WEBP": encoded(colour, "WEBP", lossless=True, exif=tag),
        "PNG": encoded(colour, "PNG", exif=tag),
        "TIFF": encoded(colour, "TIFF", tiffinfo={274: orientation}),
        "TIFF LZW": encoded(colour, "TIFF", tiffinfo={274: orientation}, compression="tiff_lzw"),
        "TIFF L": encoded(Image.fromarray(GREYS), "TIFF", tiffinfo={274: orientation}),
        "TIFF I;16": encoded(Image.fromarray(DEEP[..., 0]), "TIFF", tiffinfo={274: orientation}),
        "TIFF F": encoded(Image.fromarray(np.float32(DEEP[..., 0])), "TIFF", tiffinfo={274: orientation}),
        "TIFF 16": tiff(DEEP, orientation=orientation),
        "PNG 16": png(DEEP, chunks_before=[(b"eXIf", exif(orientation))]),
        "PNG 16 late": png(DEEP, chunks_behind=[(b"eXIf", exif(orientation))]),
        "PNG 16 XMP": png(DEEP, chunks_behind=[(b"iTXt", text)]),
        "AVIF": encoded(Image.fromarray(SMOOTH), "AVIF", exif=tag, quality=98),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(orientation):
    for name, data in turned_images(orientation).items():
        stored = SMOOTH if "JPEG" in name or name == "AVIF" else to_8(DEEP) if "16" in name or " F" in name else COLOURS
        got = shown(data)
        expected = oriented(stored[..., 0] if got.ndim == 2 else stored, orientation)
        assert got.shape == expected.shape, name
        assert np.abs(got - expected.astype(float)).mean() < (3 if stored is SMOOTH else 0.01), name


# What viewers forgive, and what they cannot.


@pytest.mark.parametrize(
    "tag",
    [
        b"",
        b"no EXIF at all",
        exif(9),
        exif(6)[:13],
        b"MM" + exif(6)[2:],
        exif(6) + 60_000 * b"x",
        b"II*\0\xff\xff\xff\xff",
    ],
    ids=["empty", "text", "9", "cut", "order", "huge", "offset"],
)
def test_damaged_exif_does_not_refuse_an_image(tag):
    for data in (
        encoded(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0" + tag, dpi=(72, 72)),
        png(DEEP, chunks_before=[(b"eXIf", tag)]),
        png(DEEP, chunks_behind=[(b"eXIf", tag)]),
    ):
        size = shown(data).shape[:2]
        assert size == (SMOOTH.shape[:2] if data.startswith(b"\xff") else SHAPE)[:: -1 if len(tag) > 9999 else 1]


def test_metadata_do_not_refuse_an_image():
    long = zlib.compress(bytes(3_000_000))
    for behind in (False, True):
        for one in (
            (b"zTXt", b"Comment\0\0" + long),
            (b"iTXt", b"Comment\0\1\0\0\0" + long),
            (b"iCCP", b"profile\0\0" + long[:50]),
            (b"tIME", b"short"),
            (b"pHYs", b""),
        ):
            where = {"chunks_behind" if behind else "chunks_before": [one]}
            np.testing.assert_array_equal(shown(png(DEEP, **where)), to_8(DEEP))
    damaged = png(DEEP, chunks_before=[(b"tEXt", b"Title\0x")])
    damaged = damaged.replace(b"Title\0x", b"Title\0y")  # of another checksum
    np.testing.assert_array_equal(shown(damaged), to_8(DEEP))
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        shown(encoded(Image.fromarray(SMOOTH), kind, icc_profile=b"cut off"))


def test_a_jpeg_without_its_end_is_whole_and_one_without_pixels_is_not():
    data = encoded(Image.fromarray(SMOOTH), "JPEG", quality=98)
    for cut in (1, 2):
        np.testing.assert_array_equal(shown(data[:-cut]), shown(data))
    for cut in (12, 100, 200):
        with pytest.raises(OSError, match="truncated"):
            image_files.read_image(data[:-cut], 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "JPEG2000", "QOI", "PPM"])
def test_an_image_without_its_second_half_is_refused(kind):
    data = encoded(Image.fromarray(COLOURS), kind)
    with pytest.raises((OSError, ValueError, SyntaxError), match=r"\w"):
        image_files.read_image(data[: 3 * len(data) // 4 if kind == "TIFF" else len(data) // 2], 3)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not read here; save it as PNG or JPEG"),
        (b"\xff\x0a\xfa", "JPEG XL, which is not read here"),
        (b"P7\nWIDTH 3", "PAM, which is not read here"),
    ],
)
def test_formats_that_are_not_read_are_named(head, message):
    with pytest.raises(ValueError, match=message):
        image_files.read_header(head + bytes(64))


def test_programs_are_not_run_for_an_image():
    for head in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", b"\xd7\xcd\xc6\x9a" + bytes(40)):
        with pytest.raises(UnidentifiedImageError):
            image_files.read_header(head)


# Ranges.


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((0, 1), (0, 1)),
        ((0.0, 1.0005), (0, 1)),
        ((0.0, 1.2), (0.0, 1.2)),  # filters overshoot; of 255 it would be black
        ((-0.9, 0.99), (-1, 1)),
        ((-2.5, 2.5), (-2.5, 2.5)),
        ((0, 5), (0, 5)),
        ((3, 255), (0, 255)),
        ((12, 1000), (0, 1023)),
        ((0, 3400), (0, 4095)),
        ((0, 10_000), (0, 16383)),
        ((0, 60_000), (0, 65535)),
        ((40_000, 41_000), (40_000, 41_000)),
        ((-1024, 3071), (-1024, 3071)),
        ((0, 0), (0, 1)),
        ((200, 200), (0, 255)),
        ((1e300, 1e300), (0, 1e300)),
        ((-3e300, -3e300), (-3e300, 0)),
        ((0, 5e-324), (0, 1)),
    ],
)
def test_usual_ranges(found, expected):
    assert values.usual_range(found) == expected


def test_scaling_takes_the_nearest_level_and_clips():
    stored = np.array([-5, 0, 8, 9, 4095, 9000])
    assert values.scaled(stored, (0, 4095)).tolist() == [0, 0, 0, 1, 255, 255]
    assert values.scaled(np.array([-1.7e308, 0, 1.7e308]), (-1.7e308, 1.7e308)).tolist() == [0, 128, 255]
    everything = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(values.scaled(everything, (0, 65535)), np.round(everything / 257.0))
    large = np.arange(2**17)
    np.testing.assert_array_equal(values.scaled(large.reshape(2, -1), (0, 2**17)).ravel(), to_8(large, 2**17))


def test_a_range_is_applied_to_every_depth_and_leaves_opacity():
    for dtype in (np.uint8, np.uint16, np.int32, np.float32):
        stored = np.arange(70).reshape(SHAPE).astype(dtype)
        data = encoded(Image.fromarray(stored), "TIFF")
        np.testing.assert_array_equal(shown(data, value_range=(0, 69)), to_8(stored, 69))
        np.testing.assert_array_equal(shown(data, value_range=(10, 30)), to_8(np.clip(stored - 10.0, 0, 20), 20))
    half = encoded(with_alpha(np.full((*SHAPE, 3), 9, np.uint8)), "PNG")
    np.testing.assert_allclose(shown(half, value_range=(0, 9)), 255)
    np.testing.assert_allclose(shown(half, value_range=(9, 18)), on_white(np.zeros((*SHAPE, 3)), ALPHAS), atol=1)


def test_values_that_are_no_numbers_are_counted():
    stored = np.full(SHAPE, 0.5, np.float32)
    stored[0, :3] = np.nan, np.inf, -np.inf
    for options in ({}, {"value_range": (0, 1)}):
        with pytest.raises(ValueError, match=r"^3 of its 70 values are NaN or infinite$"):
            image_files.read_image(encoded(Image.fromarray(stored), "TIFF"), 1, **options)
