"""DICOM files, and files of several images."""

import builtins

import numpy as np
import pytest
from PIL import Image

import tfgan_app as tg
from tfgan_app.base.errors import DataError
from tfgan_app.modalities.image_files import Page, count_pages, read_header, read_image

RNG = np.random.default_rng(0)


def dicom(values, path=None, kind="MONOCHROME2", **facts):
    """Writes a DICOM file, `(height, width)`, `(frames, height, width)` or of RGB `(height, width, 3)`."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    colours = kind == "RGB"
    dataset.SamplesPerPixel = 3 if colours else 1
    if colours:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = kind
    dataset.Rows, dataset.Columns = values.shape[:2] if colours else values.shape[-2:]
    if values.ndim == 3 and not colours:
        dataset.NumberOfFrames = len(values)
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in facts.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def levels(path, depth=8, **options):
    opened = tg.data.open_images(str(path), depth=depth, **options)
    return np.asarray(opened.modality.store(opened.first(opened.num_images)[0]))


def test_declared_sizes_are_limited(tmp_path):
    dicom(np.zeros((4, 4), np.uint8), tmp_path / "a.dcm", Rows=60_000, Columns=60_000)
    with pytest.raises(DataError, match=r"a\.dcm: 60000x60000 pixels, over the limit of 64 megapixels"):
        tg.data.open_images(str(tmp_path))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_scan_is_rescaled_and_windowed_as_its_file_says(tmp_path, depth):
    stored = RNG.integers(0, 4096, (16, 16)).astype(np.int16)
    dicom(
        stored,
        tmp_path / "a.dcm",
        RescaleSlope=2,
        RescaleIntercept=-1024,
        WindowCenter=[40, 600],
        WindowWidth=[400, 1600],
    )
    (found,) = levels(tmp_path, depth)
    white = 2**depth - 1
    # PS3.3, equation C.11-2.
    units = 2.0 * stored - 1024
    expected = np.clip(((units - 39.5) / 399 + 0.5) * white, 0, white)
    np.testing.assert_allclose(found[..., 0], expected, atol=0.5001)
    # One's own window, in the units of the file.
    (found,) = levels(tmp_path, depth, value_range=(-1024, 3000))
    np.testing.assert_allclose(found[..., 0], np.clip((units + 1024) / 4024, 0, 1) * white, atol=0.5001)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", lambda x: (x - 40) / 400 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 40) / 400))),
    ],
)
def test_windows_of_other_functions(tmp_path, function, expected):
    stored = np.arange(-128, 128, dtype=np.int16).reshape(16, 16) * 4
    dicom(stored, tmp_path / "a.dcm", WindowCenter=40, WindowWidth=400, VOILUTFunction=function)
    (found,) = levels(tmp_path)
    np.testing.assert_allclose(found[..., 0], np.clip(expected(stored.astype(float)), 0, 1) * 255, atol=0.5001)


def test_without_a_window_values_are_scaled_as_a_set(tmp_path):
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16  # to 4080
    dicom(stored, tmp_path / "a.dcm")
    dicom(stored // 2, tmp_path / "b.dcm")
    opened = tg.data.open_images(str(tmp_path))
    assert opened.value_range == (0, 4095)
    found = levels(tmp_path)
    np.testing.assert_allclose(found[0, ..., 0], stored / 4095 * 255, atol=0.5001)
    np.testing.assert_allclose(found[1, ..., 0], stored // 2 / 4095 * 255, atol=0.5001)


def test_monochrome1_is_shown_the_right_way_round(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dicom(stored, tmp_path / "a.dcm", "MONOCHROME1")
    np.testing.assert_array_equal(levels(tmp_path)[0, ..., 0], 255 - stored)


def test_colours_are_read(tmp_path):
    stored = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    dicom(stored, tmp_path / "a.dcm", "RGB")
    np.testing.assert_array_equal(levels(tmp_path)[0], stored)


def test_frames_are_slices_and_a_file_without_ending_is_told(tmp_path):
    stored = RNG.integers(0, 256, (5, 8, 10)).astype(np.uint8)
    dicom(stored, tmp_path / "IM0001")
    dicom(stored[0], tmp_path / "single.dcm")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")  # the index of a disc
    opened = tg.data.open_images(str(tmp_path))
    assert opened.num_images == 6 and opened.image_shape == (8, 10, 1) and opened.skipped == 0
    assert "2 files hold 6 images, as DICOM files of several frames do." in opened.notes
    np.testing.assert_array_equal(levels(tmp_path)[:5, ..., 0], stored)
    # Each has the attributes of its file.
    (tmp_path / "table.csv").write_text("file,contrast\nIM0001,yes\nsingle.dcm,no\n")
    _, rows = tg.data.open_images(str(tmp_path), attributes="contrast").first(6)
    assert np.asarray(rows)[:, 0].tolist() == [1, 1, 1, 1, 1, 0]
    # The file alone is a set.
    dicom(stored, tmp_path / "stack.dcm")
    np.testing.assert_array_equal(levels(tmp_path / "stack.dcm")[..., 0], stored)
    assert tg.data.open_images(str(tmp_path / "stack.dcm"), split="train[:40%]").num_images == 2


def test_what_is_no_image_is_named(tmp_path):
    pytest.importorskip("pydicom")
    dicom(np.zeros((4, 4), np.uint8), tmp_path / "a.dcm", PixelData=None)
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 30)
    with pytest.raises(DataError, match=r"2 of the 2 images .*a\.dcm"):
        tg.data.open_images(str(tmp_path))


def test_without_pydicom_a_line_says_what_to_install(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == "pydicom":
            raise ImportError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 30)
    with pytest.raises(DataError, match=r"a\.dcm: a DICOM file: pip install 'tfgan_app\[dicom\]'"):
        tg.data.open_images(str(tmp_path))
    with pytest.raises(DataError, match=r"cannot be read: a DICOM file: pip install 'tfgan_app\[dicom\]'"):
        tg.data.open_images(str(tmp_path / "a.dcm"))


def test_files_of_other_programs(tmp_path):
    """pydicom's own samples, of scanners and encodings of all kinds."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    for name, shape in (("CT_small.dcm", (128, 128)), ("MR_small.dcm", (64, 64)), ("MR_small_RLE.dcm", (64, 64))):
        path = get_testdata_file(name, download=False)
        header = read_header(path)
        assert (header.height, header.width, header.grey) == (*shape, True)
        image = read_image(path, 1)
        assert image.shape == (*shape, 1) and image.std() > 20
        dataset = pydicom.dcmread(path)
        if "WindowCenter" in dataset:
            from pydicom.pixels import apply_voi_lut

            expected = apply_voi_lut(dataset.pixel_array, dataset).astype(float)
            levels_ = 2**dataset.BitsStored  # pydicom stretches windows over these
            expected = (expected + levels_ // 2 * dataset.PixelRepresentation) / (levels_ - 1) * 255
            np.testing.assert_allclose(image[..., 0], expected, atol=0.51)
    path = get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)
    assert count_pages(path) == 2 and read_image(Page(path, 1), 3).shape == (100, 100, 3)
    assert read_image(get_testdata_file("examples_palette.dcm", download=False), 3).shape == (350, 800, 3)


# Pages.


def pages(path, images):
    first, *rest = map(Image.fromarray, images)
    first.save(path, save_all=True, append_images=rest)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_pages_of_a_tiff_are_a_set(tmp_path, dtype):
    stored = RNG.integers(0, np.iinfo(dtype).max + 1, (6, 8, 10)).astype(dtype)
    stored[0, 0, :2] = 0, np.iinfo(dtype).max
    path = pages(tmp_path / "stack.tif", stored)
    opened = tg.data.open_images(str(path))
    assert opened.num_images == 6 and opened.image_shape == (8, 10, 1)
    assert "Each of its 6 images is one of the set." in opened.notes
    depth = 8 * np.dtype(dtype).itemsize
    np.testing.assert_array_equal(levels(path, depth)[..., 0], stored)
    parts = [tg.data.open_images(str(path), split=split) for split in ("train[:50%]", "train[50%:]")]
    assert [part.num_images for part in parts] == [3, 3] and parts[0].fingerprint != parts[1].fingerprint
    # In a folder it is one image, the first, as ever.
    assert tg.data.open_images(str(tmp_path)).num_images == 1


def test_a_tiff_of_one_page_is_no_set(tmp_path):
    path = pages(tmp_path / "a.tif", [np.zeros((4, 4), np.uint8)])
    with pytest.raises(DataError, match=rf"holds one image\. Give the folder, '{tmp_path}'"):
        tg.data.open_images(str(path))
    with pytest.raises(DataError, match=r"is one file of several images, of which no pairs are made"):
        tg.data.open_pairs(str(pages(tmp_path / "b.tif", np.zeros((2, 4, 4), np.uint8))), degrade="grey")
