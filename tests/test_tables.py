"""tfgan_app.data.tables: attributes as data sets, spreadsheets and programs write them beside images."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tfgan_app import data
from tfgan_app.base.errors import DataError
from tfgan_app.data.tables import read_table

STEMS = {"a", "b", "c", "d", "1", "2", "3"}


def png(level):
    buffer = io.BytesIO()
    Image.new("L", (4, 4), level).save(buffer, "PNG")
    return buffer.getvalue()


def folder(tmp_path, files):
    """Writes files: images of the grey level that they are given, and texts."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            content = png(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(tmp_path)


def rows_by_level(images):
    """Returns the decoded attributes of each image, by its grey level."""
    pixels, rows = images.first(images.num_images)
    levels = ((pixels[:, 0, 0, 0] + 1) * 127.5).round().astype(int).tolist()
    return dict(zip(levels, images.attributes.decode(rows), strict=True))


# Reading.

CELEBA = "3\nSmiling Young\na.png -1  1\nb.png  1 -1\nc.png -1 -1\n"
TABLES = {
    "plain.csv": "file,smiling,age\na.png,1,37.5\nb.png,0,20\n",
    "bom.csv": b"\xef\xbb\xbffile,smiling,age\na.png,1,37.5\nb.png,0,20\n",
    "utf16.csv": "file,smiling,age\na.png,1,37.5\nb.png,0,20\n".encode("utf-16"),
    "windows.csv": b"file,smiling,age\r\na.png,1,37.5\r\nb.png,0,20\r\n\r\n",
    "german.csv": 'file;smiling;age\n"a.png";1;37,5\nb.png;0;20\n',
    "excel.csv": "sep=;\nfile;smiling;age;\na.png;1;37,5;\nb.png;0;20;\n",
    "tabs.tsv": "file\tsmiling\tage\na.png\t1\t37.5\nb.png\t0\t20\n",
    "quoted.csv": '"file","smiling","age"\n"a.png","1","37.5"\n"b.png","0","20"\n',
    "pandas.csv": ",file,smiling,age\n0,a.png,1,37.5\n1,b.png,0,20\n",
    "last.csv": "smiling,age,image_id\n1,37.5,a.png\n0,20,b.png\n",
    "objects.json": '{"a.png": {"smiling": 1, "age": 37.5}, "b.png": {"smiling": 0, "age": 20}}',
    "records.json": '[{"file": "a.png", "smiling": 1, "age": 37.5}, {"file": "b.png", "smiling": 0, "age": 20}]',
    "metadata.jsonl": '{"file_name": "a.png", "smiling": 1, "age": 37.5}\n'
    '{"file_name": "b.png", "smiling": 0, "age": 20}\n',
    "nested.jsonl": '{"image": "a.png", "is": {"smiling": 1, "age": 37.5}, "box": [1, 2]}\n'
    '{"image": "b.png", "is": {"smiling": 0, "age": 20}}',
}


@pytest.mark.parametrize("name", TABLES)
def test_every_dialect_reads_alike(name):
    content = TABLES[name]
    table = read_table(name, content.encode() if isinstance(content, str) else content, STEMS)
    assert table.files == ["a.png", "b.png"] and list(table.columns) == ["smiling", "age"]
    assert [[float(value) for value in values] for values in table.columns.values()] == [[1, 0], [37.5, 20]]


def test_lists_of_known_data_sets():
    celeba = read_table("list_attr_celeba.txt", CELEBA.encode(), STEMS)
    assert celeba.files == ["a.png", "b.png", "c.png"]
    assert celeba.columns == {"Smiling": ["-1", "1", "-1"], "Young": ["1", "-1", "-1"]}
    stylegan = read_table("dataset.json", b'{"labels": [["00/a.png", [0.1, 0.5]], ["00/b.png", [1, 2]]]}', STEMS)
    assert stylegan.columns == {"0": [0.1, 1], "1": [0.5, 2]}
    words = read_table("labels.json", b'{"a.png": "cat", "b.png": "dog"}', STEMS)
    assert words.columns == {"label": ["cat", "dog"]}
    headless = read_table("labels.csv", b"a.png,cat\nb.png,dog\n", STEMS)
    assert headless.files == ["a.png", "b.png"] and headless.columns == {"1": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.csv", "", "it is empty"),
        ("x.csv", "file\na.png\n", "it has one column"),
        ("x.csv", "file,age\na.png,3\nb.png,3,4,5\n", "row 2 has 4 cells in place of 2: b.png 3 4 5"),
        ("x.csv", "file,age,age\na.png,3,4\n", "two of its columns have one name"),
        ("x.json", '{"labels": null}', "it has no rows"),
        ("x.json", "[1, 2]", "it is no list of objects"),
        ("x.json", "{", "Expecting"),
        ("x.csv", "file,age\n", "it has no rows"),
    ],
)
def test_what_is_no_table_is_said(name, content, why):
    with pytest.raises(ValueError, match=why):
        read_table(name, content.encode(), STEMS)


# Beside images.


def test_images_have_the_attributes_of_their_rows(tmp_path):
    path = folder(tmp_path, {"a.png": 10, "b.png": 20, "c.png": 30, "list_attr_celeba.txt": CELEBA})
    images = data.open_images(path, attributes="auto")
    assert rows_by_level(images) == {10: ["no", "yes"], 20: ["yes", "no"], 30: ["no", "no"]}
    assert images.num_classes is None and images.condition is images.attributes
    assert "Attributes by list_attr_celeba.txt: Smiling (yes/no), Young (yes/no)." in images.notes
    assert rows_by_level(data.open_images(path, attributes=["young"])) == {10: ["yes"], 20: ["no"], 30: ["no"]}
    batch, rows = next(iter(images.batches(2, seed=1, mirror=True)))
    assert batch.shape == (2, 4, 4, 1) and rows.shape == (2, 2) and rows.dtype == "float32"
    assert images.sample(2).chosen == "seeded sample, seed 0"


def test_who_asks_for_none_is_told_of_the_table(tmp_path):
    files = {"cat/a.png": 10, "dog/b.png": 20, "attributes.csv": "file,age\na,3\nb,4\n", "other.csv": "x,y\n1,2\n"}
    images = data.open_images(folder(tmp_path, files))
    assert images.class_names == ("cat", "dog") and images.attributes is None
    assert any(
        "The table attributes.csv has attributes of its images (age): `attributes=auto`" in note
        for note in images.notes
    )
    assert any("Left out files that are no images (1 .csv, such as other.csv)" in note for note in images.notes)
    assert "attributes" not in images.describe()


@pytest.mark.parametrize("name", ["a.png", "a", "A.PNG", "./x/a.png", "x\\a.png", "somewhere/x/a.png", "a.jpg"])
def test_names_match_with_or_without_folder_and_ending(tmp_path, name):
    table = f"file,age\n{name},1\nb.png,2\nc.png,3\n"
    path = folder(tmp_path, {"x/a.png": 10, "x/b.png": 20, "x/c.png": 30, "attributes.csv": table})
    assert rows_by_level(data.open_images(path, attributes="age")) == {10: ["1"], 20: ["2"], 30: ["3"]}


def test_dots_and_lost_zeros_in_names(tmp_path):
    files = {"f[1.0]_r[0].png": 10, "0007.png": 20, "0012.png": 30}
    table = "id,age\nf[1.0]_r[0],1\n7,2\n12,3\n"
    path = folder(tmp_path, {**files, "attributes.csv": table})
    assert rows_by_level(data.open_images(path, attributes="age")) == {10: ["1"], 20: ["2"], 30: ["3"]}


def test_what_has_no_partner_or_no_value_is_counted_and_named(tmp_path):
    table = "file,age,size\na.png,1,5\nb.png,,6\nc.png,3,7\na.png,9,9\ngone.png,1,1\nd.png,2,8\nf.png,2,9\n"
    files = {f"{letter}.png": 10 * number for number, letter in enumerate("abcde")}
    path = folder(tmp_path, {**files, "x/f.png": 90, "y/f.png": 91, "attributes.csv": table})
    images = data.open_images(path, attributes=["age", "size"])
    assert rows_by_level(images) == {0: ["1", "5"], 20: ["3", "7"], 30: ["2", "8"]}
    notes = " ".join(images.notes)
    assert "Left out 1 image that lacks a value in attributes.csv (age 1)." in notes
    assert "Of attributes.csv 1 row has no image, such as gone.png." in notes
    assert "Of attributes.csv 1 row names an image again, whose first row stands, such as a.png." in notes
    assert "Of attributes.csv 1 row fits several images: give their folders, such as f.png." in notes
    assert "Left out 3 of 7 images that attributes.csv does not list, such as e.png." in notes


def test_a_table_above_the_splits_or_one_in_each(tmp_path):
    images = {"train/1.png": 10, "train/2.png": 20, "train/3.png": 30, "test/1.png": 110, "test/2.png": 120}
    above = "file,age\ntrain/1.png,1\ntrain/2.png,2\ntrain/3.png,3\ntest/1.png,11\ntest/2.png,12\n"
    each = {
        "train/metadata.csv": "file_name,age\n1.png,1\n2.png,2\n3.png,3\n",
        "test/metadata.csv": "f,age\n1,11\n2,12\n",
    }
    for name, tables in (("above", {"labels.csv": above}), ("each", each)):
        path = folder(tmp_path / name, {**images, **tables})
        train = data.open_images(path, attributes="auto")
        test = data.open_images(path, split="test", attributes=train.attributes)
        assert rows_by_level(train) == {10: ["1"], 20: ["2"], 30: ["3"]}
        assert rows_by_level(test) == {110: ["11"], 120: ["12"]}
        # By the mean and the deviation of training, which are 2 and sqrt(2/3).
        np.testing.assert_allclose(test.first(2)[1][:, 0], (np.array([11, 12]) - 2) / np.sqrt(2 / 3), rtol=1e-6)
        _, loaded = data.load(path, 3, attributes="auto")
        np.testing.assert_array_equal(next(iter(loaded))[1], test.first(2)[1])


def test_another_splits_strangers_are_left_out(tmp_path):
    images = {
        "train/1.png": 10,
        "train/2.png": 20,
        "train/3.png": 25,
        "train/4.png": 26,
        "test/5.png": 30,
        "test/6.png": 40,
    }
    path = folder(tmp_path, {**images, "labels.csv": "file,hair\n1,red\n2,black\n3,red\n4,black\n5,red\n6,blue\n"})
    train = data.open_images(path, attributes="auto")
    test = data.open_images(path, split="test", attributes=train.attributes)
    assert rows_by_level(test) == {30: ["red"]}
    assert "Left out 1 image whose hair is none of training, such as blue." in test.notes
    (tmp_path / "labels.csv").write_text("file,hair\n1,red\n2,black\n3,red\n4,black\n")
    test = data.open_images(path, split="test", attributes=train.attributes)
    assert test.condition is None and "No table lists its images: they are taken without attributes." in test.notes


def test_styles_vectors_in_an_archive(tmp_path):
    labels = {"labels": [[f"00000/{index}.png", [index / 10, 1 - index]] for index in range(4)]}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("dataset.json", json.dumps(labels))
        for index in range(4):
            archive.writestr(f"00000/{index}.png", png(10 * index))
    plain = data.open_images(str(tmp_path / "set.zip"))
    assert plain.condition is None and "`attributes=auto` tells the numbers of dataset.json" in " ".join(plain.notes)
    found = rows_by_level(data.open_images(str(tmp_path / "set.zip"), attributes="auto"))
    assert {level: [float(text) for text in row] for level, row in found.items()} == {
        10 * index: [pytest.approx(index / 10, abs=1e-5), pytest.approx(1 - index, abs=1e-5)] for index in range(4)
    }


def test_auto_leaves_out_what_nothing_is_learnt_from(tmp_path):
    lines = [f"{index}.png,{index},always,note number {index}," for index in range(9)]
    table = "file,age,constant,caption,empty\n" + "\n".join(lines)
    path = folder(tmp_path, {**{f"{index}.png": index for index in range(9)}, "attributes.csv": table})
    images = data.open_images(path, attributes="auto")
    assert [column.name for column in images.attributes.columns] == ["age"]
    note = next(note for note in images.notes if "Left out of attributes.csv" in note)
    assert (
        "constant, as all of its values are always" in note and "caption, as its 9 values are 9 different texts" in note
    )
    assert "empty, as 9 of 9 values are missing" in note
    with pytest.raises(DataError, match=r"nothing can be learnt from constant of attributes.csv, as all of its values"):
        data.open_images(path, attributes=["constant"])
    with pytest.raises(DataError, match=r"`attributes=age,empty`: of 9 images 9 have no value in attributes.csv"):
        data.open_images(path, attributes=["age", "empty"])


def test_what_cannot_be_found_is_said(tmp_path):
    path = folder(tmp_path, {"a.png": 1, "b.png": 2, "attributes.csv": "file,smiling\na,1\nb,0\n"})
    with pytest.raises(DataError, match=r"has no column 'smilin'\. Did you mean 'smiling'\? It has: smiling\."):
        data.open_images(path, attributes="smilin")
    (tmp_path / "attributes.csv").write_text("file,age\nz.png,1\ny.png,2,3\n")
    with pytest.raises(
        DataError, match=r"`attributes=auto`: no table lists the images of .*It has: attributes.csv, which is "
    ):
        data.open_images(path, attributes="auto")
    with pytest.raises(DataError, match=r"'mnist_5k' is a data set of TFDS. Attributes are read from a table"):
        data.open_images("mnist_5k", attributes="auto")


# Arrays.


def test_arrays(tmp_path):
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.full((6, 4, 4, 1), 10, np.uint8)
    told = np.array([[0, 1.5], [1, 2.5], [0, np.nan], [1, 4], [0, 5], [1, 6]])
    path = str(tmp_path / "set.npz")
    np.savez(path, images=pixels, attributes=told, attribute_names=["smiling", "age"], class_names=["x", "y"])
    images = data.open_images(path, attributes="auto")
    assert rows_by_level(images)[10] == ["yes", "2.5"] and images.num_images == 5
    assert "Left out 1 image that lacks a value in its attributes (age 1)." in images.notes
    np.savez(
        path, train_images=pixels, test_images=pixels[:2], train_attributes=told[:, 0], test_attributes=told[:2, 0]
    )
    train = data.open_images(path, attributes="auto")
    assert rows_by_level(train)[50] == ["yes"]
    assert rows_by_level(data.open_images(path, split="test", attributes=train.attributes)) == {0: ["no"], 10: ["yes"]}
    np.savez(path, images=pixels, attributes=told[:3])
    with pytest.raises(DataError, match=r"'attributes' of shape \(3, 2\) of its 6 images"):
        data.open_images(path, attributes="auto")
    np.savez(path, images=pixels, attributes=told, attribute_names=["age"])
    with pytest.raises(DataError, match=r"The 2 columns of 'attributes' .* need a name each"):
        data.open_images(path, attributes="auto")
    np.savez(path, images=pixels)
    with pytest.raises(DataError, match="has no array 'attributes' of its 6 images"):
        data.open_images(path, attributes="auto")


def test_the_fingerprint_knows_the_attributes(tmp_path):
    path = folder(tmp_path, {"a.png": 10, "b.png": 20, "attributes.csv": "file,age,old\na,1,0\nb,2,1\n"})
    found = {data.open_images(path, attributes=names).fingerprint for names in (None, ["age"], ["old"], ["age", "old"])}
    assert len(found) == 4
    assert data.open_images(path, attributes=["age"]).fingerprint in found


def test_images_of_any_form_have_attributes(tmp_path):
    table = "file,on\na.png,1\nb.png,0\nc.png,1\nd.png,0\n"
    files = {f"{stem}.png": 40 * number for number, stem in enumerate("abcd", 1)}
    form = {"image_size": "12x8", "fit": "pad", "channels": 4, "depth": 16}
    images = data.open_images(folder(tmp_path, {**files, "attributes.csv": table}), attributes="on", **form)
    pixels, rows = images.first(4)
    assert pixels.shape == (4, 8, 12, 4) and images.depth == 16
    # What is around is transparent, and the middle as it was.
    np.testing.assert_allclose(pixels[:, 0, 0, 3], -1)
    np.testing.assert_allclose(pixels[:, 4, 6, 0], np.array([40, 80, 120, 160]) / 127.5 - 1, atol=1e-4)
    assert images.attributes.decode(rows) == [["yes"], ["no"], ["yes"], ["no"]]
    _, test = data.load(str(tmp_path), 2, splits=("train[:2]", "train[2:]"), attributes="on", **form)
    pixels, rows = next(iter(test))
    assert pixels.shape == (2, 8, 12, 4) and np.asarray(rows).tolist() == [[1], [0]]


def test_arrays_of_any_form_have_attributes(tmp_path):
    stored = np.random.default_rng(0).integers(0, 65536, (6, 9, 5, 2), np.uint16)
    np.savez(tmp_path / "x.npz", images=stored, attributes=np.arange(1, 7)[:, None], attribute_names=["dose"])
    images = data.open_images(
        str(tmp_path / "x.npz"), attributes="auto", image_size=(6, 4), fit="stretch", depth=16, value_range=(0, 65535)
    )
    pixels, rows = images.first(6)
    assert pixels.shape == (6, 6, 4, 2) and images.attributes.decode(rows) == [[str(dose)] for dose in range(1, 7)]


def test_one_file_of_many_images_has_no_table(tmp_path):
    pages = [Image.new("L", (4, 4), level) for level in (10, 20, 30)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(
        DataError, match=r"`attributes=on`: '.*x\.tif' is one file of images\. Attributes are read from"
    ):
        data.open_images(str(tmp_path / "x.tif"), attributes="on")
