"""tfgan_app.modalities.image_files: every format, mode, turn and kind of metadata, pixel by pixel."""

import io

import pytest
from PIL import Image

from tfgan_app.modalities import image_files

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
