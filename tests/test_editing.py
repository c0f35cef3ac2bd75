"""`tfgan_app.runs.generate` with `project`, `mix`, `directions` and `edit`; sheets of truncations, and films."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from conftest import SHAPE
from PIL import Image
from test_edits import TOLD, linear_gan, normal, styled
from test_projection import lively

from tfgan_app import pictures, runs
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.export import SavedGAN
from tfgan_app.runs import generation
from tfgan_app.study import Directions, KeptLatents, load_latents, save_latents, sefa


@pytest.fixture(scope="module")
def linear():
    gan, _ = linear_gan([3.0, 2.0, 1.0])
    return gan


@pytest.fixture(scope="module")
def conditional():
    return lively(3)


@pytest.fixture(scope="module")
def styles():
    return styled()


@pytest.fixture
def draw(monkeypatch):
    """Returns `runs.generate` on a GAN that is at hand."""

    def call(gan, out, **arguments):
        monkeypatch.setattr(generation, "open_trained", lambda *asked: gan)
        return runs.generate(saved_model="any", out=out, scale=1, **arguments)

    return call


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def cells(path, rows, columns, shape=SHAPE):
    """Returns the images of a grid, `(rows, columns, height, width)`, whatever titles are above and at the left."""
    grid, (height, width) = read(path), shape[:2]
    grid = grid[len(grid) - rows * (height + 2) - 2 :, grid.shape[1] - columns * (width + 2) - 2 :]
    return np.stack(
        [
            [grid[2 + r * (height + 2) :, 2 + c * (width + 2) :][:height, :width] for c in range(columns)]
            for r in range(rows)
        ]
    )


def stored(samples):
    """Returns decoded images as files hold them."""
    return np.uint8(np.round(255 * np.asarray(samples)))[..., 0]


# Projections.


def test_a_picture_is_projected_into_a_folder(linear, draw, tmp_path):
    # Larger, oblong and in colours: its middle is one of the samples.
    image = stored(linear.sample(1, seed=5))[0]
    large = np.repeat(np.repeat(image, 4, 0), 4, 1)
    picture = np.pad(large, [(0, 0), (16, 16)], constant_values=90)
    Image.fromarray(picture).convert("RGB").save(tmp_path / "photo.png")
    lines = []
    out = tmp_path / "found"
    found = draw(linear, out, project=tmp_path / "photo.png", steps=120, progress=lines.append)
    assert {path.name for path in out.iterdir()} == {
        *("target.png", "projection.png", "latent.npz", "search.gif", "projection.json")
    }
    assert np.abs(read(out / "target.png").astype(int) - image).max() < 60  # by Lanczos's filter
    target, made = cells(out / "projection.png", 1, 2)[0]
    np.testing.assert_array_equal(target, read(out / "target.png"))
    kept = load_latents(out / "latent.npz", linear)
    np.testing.assert_array_equal(made, stored(linear.generate(kept.latents))[0])
    with Image.open(out / "search.gif") as film:
        assert film.n_frames > 10
    facts = json.loads((out / "projection.json").read_text())
    error = 10 * np.log10(255**2 / np.mean((target.astype(float) - made) ** 2))
    assert facts["psnr"] == pytest.approx(error, rel=1e-4)
    assert (facts["picture"], facts["label"], facts["space"], facts["steps"]) == ("photo.png", None, "latents", 120)
    assert found.summary() == (
        "photo.png, 64x32: its largest centred square resized to 8x8, in grey.\n"
        f"PSNR {error:.2f} dB: latent.npz, projection.png, search.gif in {out}."
    )
    assert lines[0].startswith("step 0/120  loss ")


def test_a_tuned_generator_goes_with_its_latents(conditional, draw, tmp_path):
    Image.fromarray(np.uint8(np.random.default_rng(0).integers(0, 256, SHAPE[:2]))).save(tmp_path / "a.png")
    conditional.class_names = ("cat", "dog", "cow")
    found = draw(conditional, tmp_path / "found", project=tmp_path / "a.png", steps=30, tune=40, labels=["dog"])
    assert ", class dog: latent.npz" in found.summary()
    sefa(conditional, 2).save(tmp_path / "sefa.npz")
    arguments = {"directions": tmp_path / "sefa.npz", "edit": ["1=0"], "latents": tmp_path / "found" / "latent.npz"}
    draw(conditional, tmp_path / "edited.png", **arguments)
    tuned = cells(tmp_path / "found" / "projection.png", 1, 2)[0, 1]
    before, after = cells(tmp_path / "edited.png", 1, 2)[0]
    np.testing.assert_array_equal(before, tuned)
    np.testing.assert_array_equal(after, tuned)
    # Afterwards it draws as ever.
    kept = load_latents(tmp_path / "found" / "latent.npz", conditional)
    assert np.abs(stored(conditional.generate(kept.latents, **kept.told))[0].astype(int) - tuned).max() > 3
    saved = SavedGAN(conditional.export(tmp_path / "1"))
    with pytest.raises(UsageError, match="latents are of a tuned generator, which a SavedModel cannot become"):
        draw(saved, tmp_path / "edited.png", **arguments)


def test_a_file_that_is_no_picture_is_named(linear, draw, tmp_path):
    (tmp_path / "a.png").write_text("none")
    for name in ("a.png", "missing.png"):
        with pytest.raises(DataError, match=rf"`project=.*{name}` cannot be read as a picture: "):
            draw(linear, tmp_path / "found", project=tmp_path / name)


# Mixed styles.


def test_a_grid_mixes_the_coarse_styles_of_rows_with_the_fine_ones_of_columns(styles, draw, tmp_path):
    found = draw(styles, tmp_path / "mix.png", mix=2, grid="2x3", seed=4)
    of_each = styles.styles(styles.latents(5, seed=4))
    grid = cells(tmp_path / "mix.png", 3, 4, (28, 28))
    assert np.all(grid[0, 0] == 255)
    np.testing.assert_array_equal(grid[1:, 0], stored(styles.generate(of_each[:2])))
    np.testing.assert_array_equal(grid[0, 1:], stored(styles.generate(of_each[2:])))
    mixed = np.concatenate([of_each[1, :2], of_each[4, 2:]])
    np.testing.assert_array_equal(grid[2, 3], stored(styles.generate(mixed[None]))[0])
    assert found.summary() == f"Layers 0 to 1 of the rows, 2 to 5 of the columns in {tmp_path / 'mix.png'}."


def test_only_styles_mix_and_only_between_layers(styles, linear, draw, tmp_path):
    with pytest.raises(UsageError, match="`mix=1` takes a model with styles, such as StyleGAN2: this one has latents"):
        draw(linear, tmp_path / "mix.png", mix=1)
    with pytest.raises(UsageError, match="`mix=6` must be a layer from 1 to 5: this model has 6"):
        draw(styles, tmp_path / "mix.png", mix=6)


# Directions and edits.


def test_directions_are_shown_kept_named_and_moved_along(linear, draw, tmp_path):
    file = tmp_path / "found.npz"
    found = draw(linear, file, directions="sefa", grid="2x3", strength=2)
    text = f"2 directions in {file}; 2 in {tmp_path / 'found.png'}, from -2 to 2 deviations of the latents."
    assert found.summary() == text
    kept, z = Directions.load(file, linear), np.asarray(linear.latents(1))
    for row, vector in enumerate(kept.vectors):
        expected = stored(linear.generate(np.concatenate([z - 2 * vector, z, z + 2 * vector])))
        np.testing.assert_array_equal(cells(tmp_path / "found.png", 2, 3)[row], expected)
    draw(linear, tmp_path / "named.npz", directions=file, names=["smile"])
    assert Directions.load(tmp_path / "named.npz", linear).names == ("smile", "2")
    draw(linear, tmp_path / "edit.png", directions=tmp_path / "named.npz", edit=["smile=2", "2=-1.5"], grid="2x2")
    moved = np.asarray(linear.latents(4)) + 2 * kept.vectors[0] - 1.5 * kept.vectors[1]
    received = cells(tmp_path / "edit.png", 2, 2).reshape(4, *SHAPE[:2])
    np.testing.assert_array_equal(received, stored(linear.generate(moved)))
    save_latents(tmp_path / "latent.npz", linear, KeptLatents(normal(1, 3)))
    arguments = {"directions": tmp_path / "named.npz", "latents": tmp_path / "latent.npz"}
    draw(linear, tmp_path / "edit.png", edit=["smile=2"], **arguments)
    expected = stored(linear.generate(np.concatenate([normal(1, 3), normal(1, 3) + 2 * kept.vectors[0]])))
    np.testing.assert_array_equal(cells(tmp_path / "edit.png", 1, 2)[0], expected)
    draw(linear, tmp_path / "edit.gif", edit=["smile=2"], frames=4, fps=10, **arguments)
    with Image.open(tmp_path / "edit.gif") as film:
        assert film.n_frames == 4 and film.info["duration"] == 100


def test_styles_move_in_the_layers_named(styles, draw, tmp_path):
    draw(styles, tmp_path / "pca.npz", directions="pca", grid="1x3")
    found = Directions.load(tmp_path / "pca.npz", styles)
    draw(styles, tmp_path / "edit.png", directions=tmp_path / "pca.npz", edit=["1=3"], layers="2-3", grid="1x2")
    moved = styles.styles(styles.latents(2))
    moved[:, 2:4] += 3 * found[1]
    np.testing.assert_array_equal(cells(tmp_path / "edit.png", 1, 2, (28, 28))[0], stored(styles.generate(moved)))


def test_a_direction_between_two_kinds_of_latents(linear, draw, tmp_path):
    for kind, sign in (("with", 1), ("without", -1)):
        for index in range(3):
            kept = KeptLatents(normal(1, 3, seed=index) + sign * np.float32([0, 2, 0]))
            save_latents(tmp_path / kind / str(index) / "latent.npz", linear, kept)
    folders = {"latents": tmp_path / "with", "against": tmp_path / "without"}
    found = draw(linear, tmp_path / "found.npz", directions="difference", names=["hat"], **folders)
    assert found.summary().startswith(f"1 direction in {tmp_path / 'found.npz'}")
    vectors = Directions.load(tmp_path / "found.npz", linear).vectors
    np.testing.assert_allclose(vectors, [[0, 1, 0]], atol=1e-6)


# Sheets and films.


def test_several_truncations_are_a_row_each(linear, draw, tmp_path):
    draw(linear, tmp_path / "sheet.png", truncation=[0, 0.5, 2], grid="1x4", seed=3)
    sheet = cells(tmp_path / "sheet.png", 3, 4)
    for row, truncation in enumerate((0, 0.5, 2)):
        np.testing.assert_array_equal(sheet[row], stored(linear.sample(4, seed=3, truncation=truncation)))
    draw(linear, tmp_path / "one.png", truncation=0.5, grid="1x4", seed=3)
    np.testing.assert_array_equal(cells(tmp_path / "one.png", 1, 4)[0], sheet[1])
    with pytest.raises(
        UsageError, match=r"`truncation=0.5,1`: several are for a grid of images as they are drawn, not"
    ):
        draw(linear, tmp_path / "a.npz", truncation=[0.5, 1], num_images=2)


def test_titles_of_rows_stand_beside_them():
    plain = pictures.grid(np.zeros((6, 20, 20, 1)), 3)
    titled = pictures_with_titles(plain, ["0.25", "a name longer than there is any room for at the side"])
    np.testing.assert_array_equal(titled[:, -plain.shape[1] :], plain)
    side = titled[:, : -plain.shape[1]]
    assert side.shape[1] <= 98 and side[:22].min() < 128 and side[22:].min() < 128


def pictures_with_titles(picture, titles):
    from tfgan_app.base.pictures import titled_rows

    return titled_rows(picture, titles)


def test_films_as_mp4_need_their_encoder(linear, draw, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name))
    message = r"walk\.mp4 needs imageio-ffmpeg: pip install 'tfgan_app\[video\]', or take a \.gif"
    with pytest.raises(UsageError, match=message):
        draw(linear, tmp_path / "walk.mp4", grid="1x1")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not importlib.util.find_spec("imageio_ffmpeg"), reason="imageio-ffmpeg is not installed")
def test_an_mp4_holds_every_frame_at_its_size_and_rate(tmp_path):
    import imageio_ffmpeg

    # An odd side, and levels that each frame has its own of.
    frames = [np.full((31, 44, 1), level, np.uint8) for level in (20, 120, 220)]
    pictures.save_film(tmp_path / "film.mp4", iter(frames), 5, scale=1)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    facts = next(reader)
    assert (facts["size"], facts["fps"], facts["codec"]) == ((44, 32), 5.0, "h264")
    levels = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(levels, [20, 120, 220], atol=4)


# What does not go together.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 5}, "`steps=5` goes with `project`."),
        ({"latents": "a.npz"}, "`latents=a.npz` goes with `edit` or `directions`."),
        ({"project": "a.png", "mix": 2, "out": "b"}, "`mix=2` does not go with `project`."),
        ({"mix": 2, "steps": 5, "out": "b.png"}, "`steps=5` does not go with `mix`."),
        ({"project": "a.png", "grid": "2x2", "out": "b"}, "`grid=2x2` does not go with `project`."),
        ({"directions": "sefa", "num_images": 3, "out": "b.npz"}, "`num_images=3` does not go with `directions`."),
        ({"edit": ["1=2"], "names": ["a"], "out": "b.png"}, "`names=a` does not go with `edit`."),
        ({"project": "a.png"}, "`project` needs `out`, which is a folder. Received: `out=grid.png`"),
        (
            {"directions": "sefa", "out": "b.png"},
            "`directions` needs `out`, which is NAME.npz, beside which the picture",
        ),
        ({"mix": 2, "out": "b.gif"}, "`mix` needs `out`, which is NAME.png. Received: `out=b.gif`"),
        ({"edit": ["1=2"], "out": "b.png"}, "`edit` needs `directions`: the NAME.npz in which they were written."),
        (
            {"edit": ["1=2"], "directions": "sefa", "out": "b.png"},
            "`directions=sefa`: find them first, into a NAME.npz",
        ),
        ({"directions": "svm", "out": "b.npz"}, "`directions=svm` must be sefa, pca, difference, separator, or a NAME"),
        ({"directions": "separator", "out": "b.npz"}, "`directions=separator` needs `latents` and `against`: those of"),
        ({"directions": "sefa", "layers": "0-1", "out": "b.npz"}, "GAN has no styles: its layers take latents."),
        ({"directions": "sefa", "layers": "3-1", "out": "b.npz"}, "`layers=3-1` must be FIRST-LAST, for example 0-3,"),
        ({"truncation": -1}, "`truncation=-1` must be a number of at least 0, or several."),
        ({"input": "a.png", "mix": 2, "out": "b.png"}, "`mix=2` is for pictures that are drawn: it does not go with"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(arguments, message, linear, tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "open_trained", lambda *asked: linear)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        runs.generate(saved_model="any", **arguments)
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("edit", ["smile", "=2", "smile=much", "1=nan"])
def test_edits_are_names_with_strengths(edit, linear, draw, tmp_path):
    sefa(linear, 1).save(tmp_path / "a.npz")
    with pytest.raises(UsageError, match=rf"`edit={edit}` must be NAME=STRENGTH, for example smile=2 or 1=-1\.5"):
        draw(linear, tmp_path / "edit.png", directions=tmp_path / "a.npz", edit=[edit])


def test_latents_and_styles_do_not_mix(styles, linear, draw, tmp_path):
    sefa(styles, 1).save(tmp_path / "styles.npz")
    save_latents(tmp_path / "z" / "latent.npz", styles, KeptLatents(normal(1, 4)))
    arguments = {"directions": tmp_path / "styles.npz", "edit": ["1=2"]}
    # Latents become styles where directions are of those.
    draw(styles, tmp_path / "edit.png", latents=tmp_path / "z", **arguments)
    moved = styles.styles(normal(1, 4)) + 2 * sefa(styles, 1)[1]
    np.testing.assert_array_equal(cells(tmp_path / "edit.png", 1, 2, (28, 28))[0, 1], stored(styles.generate(moved))[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty is a folder without a latent\.npz, which `project` writes"):
        draw(styles, tmp_path / "edit.png", latents=tmp_path / "empty", **arguments)
    with pytest.raises(UsageError, match=r"styles\.npz is of another generator"):
        draw(linear, tmp_path / "edit.png", **arguments)
    keras.backend.clear_session(free_memory=False)


# What is told attributes.


@pytest.fixture(scope="module")
def told():
    return styled(attributes=TOLD)


def test_attributes_are_mixed_moved_and_shown(told, draw, tmp_path):
    dark = {"attributes": ["age=60", "hair=dark"]}
    row = TOLD.encode({"age": [60], "hair": ["dark"]})
    draw(told, tmp_path / "mix.png", mix=2, grid="2x3", seed=4, **dark)
    of_each = told.styles(told.latents(5, seed=4), attributes=np.repeat(row, 5, axis=0))
    mixed = np.concatenate([of_each[1, :2], of_each[4, 2:]])[np.newaxis]
    received = cells(tmp_path / "mix.png", 3, 4, told.image_shape)[2, 3]
    np.testing.assert_allclose(received, stored(told.generate(mixed))[0], atol=1)

    draw(told, tmp_path / "pca.npz", directions="pca", grid="2x3", **dark)
    found = Directions.load(tmp_path / "pca.npz", told)
    middle = cells(tmp_path / "pca.png", 2, 3, told.image_shape)[:, 1]
    expected = stored(told.generate(told.latents(1), attributes=row))[0]
    np.testing.assert_allclose(middle, np.stack([expected, expected]), atol=1)

    draw(told, tmp_path / "edit.png", directions=tmp_path / "pca.npz", edit=["1=2"], grid="1x2", **dark)
    styles = told.styles(told.latents(2), attributes=np.repeat(row, 2, axis=0))
    received = cells(tmp_path / "edit.png", 1, 2, told.image_shape)[0]
    np.testing.assert_allclose(received, stored(told.edit(styles, found["1"], 2.0)), atol=1)

    draw(told, tmp_path / "sheet.png", truncation=[0.5, 1], grid="1x2", **dark)
    received = cells(tmp_path / "sheet.png", 2, 2, told.image_shape)[0]
    expected = told.generate(told.latents(2), truncation=0.5, attributes=np.repeat(row, 2, axis=0))
    np.testing.assert_allclose(received, stored(expected), atol=1)


def test_a_projection_says_which_attributes_it_has(told, draw, tmp_path):
    Image.fromarray(np.uint8(np.random.default_rng(0).integers(0, 256, SHAPE[:2]))).save(tmp_path / "a.png")
    asked = {"project": tmp_path / "a.png", "steps": 4, "attributes": ["age=60", "hair=dark"]}
    made = draw(told, tmp_path / "found", **asked)
    assert "dB, age 60, hair dark: latent.npz" in made.summary()
    facts = json.loads((tmp_path / "found" / "projection.json").read_text())
    assert facts["attributes"] == {"age": "60", "hair": "dark"} and facts["label"] is None
    kept = load_latents(tmp_path / "found" / "latent.npz", told)
    np.testing.assert_array_equal(kept.told["attributes"], TOLD.encode({"age": [60], "hair": ["dark"]}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"attributes": ["age=20..60"], "mix": 2},
            "`attributes=age=20..60` varies along a grid: it does not go with `mix",
        ),
        (
            {"attributes": ["age=20..60"], "truncation": [0.5, 1]},
            "`attributes=age=20..60` varies along a grid: give `out=",
        ),
        (
            {"labels": [1], "mix": 2},
            "`labels=1`: this GAN is told `attributes`: age (number, 20 to 60), hair (dark, fair).",
        ),
        (
            {"input": "b.png", "attributes": ["age=30"]},
            "`attributes=age=30` is for pictures that are drawn: it does not go",
        ),
    ],
)
def test_attributes_that_do_not_go_together_are_refused(arguments, message, told, draw, tmp_path):
    with pytest.raises(UsageError) as error:
        draw(told, tmp_path / "a.png", **arguments)
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())
