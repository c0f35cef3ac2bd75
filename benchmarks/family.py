"""Trains every recipe of the family on Fashion-MNIST with the same number of images, and reports what came out.

    python benchmarks/family.py --images=96000 --seeds 0 1 2 --data_dir=DIR
    python benchmarks/family.py --images=384000 --seeds 0 --data_dir=DIR

A recipe is a flagfile of `tfgan_app/flags` for two cores; it is trained as it stands, but for the number of steps:
`images` real images pass through the discriminator, whatever the batch and the discriminator's updates a step: the
budget, and the tables have a column for each. Each run is a process of its own; recipes take turns, seed by seed.
images/s counts from the end of the first step, which traces the graph. The samples are those of the EMA generator, seed
0, scored on 10 000 test images.

Runs that the report holds already are not repeated, so an interrupted command goes on, and `--report_only` writes the
page anew: `docs/results.md`, with the table and every sample grid.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import textwrap
import time

from processes import busy_fraction, call, machine, missing, open_recipe, parse_result, run_each

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "results.md"
# Flagfiles by the name that tables give them.
RECIPES = {
    "mlp_gan": "MLP GAN",
    "dcgan": "DCGAN",
    "lsgan": "LSGAN",
    "hinge_gan": "Hinge GAN",
    "dragan": "DRAGAN",
    "relativistic_gan": "Relativistic GAN",
    "pacgan": "PacGAN",
    "wgan": "WGAN",
    "wgan_gp": "WGAN-GP",
    "sngan": "SNGAN",
    "pggan": "Progressive GAN",
    "stylegan2": "StyleGAN2",
    "r3gan": "R3GAN",
    "fastgan": "FastGAN",
    "infogan": "InfoGAN",
    "cgan": "CGAN",
    "acgan": "ACGAN",
    "projection_gan": "Projection GAN",
    "sagan": "SAGAN",
    "biggan": "BigGAN",
}


def benchmark(args):
    """Runs what is missing, then writes the page; returns the process's exit code."""
    path = RESULTS / "family.json"
    report = json.loads(path.read_text()) if path.exists() else {"runs": []}
    RESULTS.mkdir(parents=True, exist_ok=True)

    def measure(run):
        report.update(machine=machine(), date=datetime.date.today().isoformat())
        run["busy_before"] = busy_fraction()
        run |= _run(args, run["recipe"], run["seed"])

    wanted = [{"recipe": recipe, "images": args.images, "seed": seed} for seed in args.seeds for recipe in args.recipes]
    run_each(report, path, [] if args.report_only else missing(report, wanted, _key), _key, measure)
    write_page(report)
    return int(any("error" in run for run in report["runs"]))


def _key(run):
    return run["recipe"], run["images"], run["seed"]


def _run(args, recipe, seed):
    command = [
        sys.executable,
        __file__,
        "--worker",
        f"--recipes={recipe}",
        f"--seeds={seed}",
        f"--images={args.images}",
    ]
    return parse_result(call([*command, *([f"--data_dir={args.data_dir}"] if args.data_dir else [])]))


def train(args):
    """Trains one recipe with one seed, writes its grid if the seed is the first, and prints the result."""
    import keras

    from tfgan_app import pictures
    from tfgan_app.base.versions import versions
    from tfgan_app.metrics import FrechetDistance, load_extractor
    from tfgan_app.study import SampledFakes, score

    (recipe,), (seed,) = args.recipes, args.seeds
    session = open_recipe(recipe, seed, args.data_dir)
    settings, gan, test = session.settings, session.gan, session.test
    per_step = settings.batch_size * gan.n_critic
    steps = args.images // per_step

    class Clock(keras.callbacks.Callback):
        """Takes the time from the end of the first step to the end of the last."""

        began = ended = 0.0

        def on_train_batch_end(self, batch, logs=None):
            self.ended = time.perf_counter()
            self.began = self.began or self.ended

    clock = Clock()
    batches = session.images.batches(settings.batch_size, seed=seed)
    gan.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0, shuffle=False)
    extractor = load_extractor("fashion_mnist_cnn")
    receipt = score(SampledFakes(gan, 10_000), test, [FrechetDistance(extractor)])
    if seed == 0:
        classes = gan.num_classes
        columns = classes if classes else 10
        pictures.save_png(_grid(recipe, args.images), pictures.grid(gan.sample(6 * columns, seed=0), columns), 2)
    result = {
        "value": receipt["scores"]["fd"],
        "extractor": receipt["extractor"]["sha256"],
        "steps": steps,
        "images_per_second": round((steps - 1) * per_step / (clock.ended - clock.began), 1),
        "g_parameters": sum(v.shape.num_elements() for v in _tensors(gan.generator)),
        "d_parameters": sum(v.shape.num_elements() for v in _tensors(gan.discriminator)),
        "conditional": bool(gan.unpack(next(iter(test.in_order(2))))[1]),
        "precision": settings.precision,
        "versions": versions(),
    }
    print(json.dumps(result))
    return 0


def _grid(recipe, images):
    """Returns where the sample grid of a recipe and budget is kept."""
    return RESULTS / f"{recipe}_{images}.png"


def _tensors(network):
    return [variable.value for variable in network.trainable_variables]


def table(report):
    """Returns the Markdown table of a report, best Frechet distance first, unconditional models before conditional."""
    budgets = _budgets(report)
    rows = []
    for recipe, name in RECIPES.items():
        runs = [run for run in report["runs"] if run["recipe"] == recipe and "value" in run]
        if runs:
            values = [[run["value"] for run in runs if run["images"] == images] for images in budgets]
            rate = max(run["images_per_second"] for run in runs)
            cells = [f"[{name}](#{recipe})", *map(_mean, values), f"{rate:,.0f}"]
            cells += [f"{runs[0][count]:,}" for count in ("g_parameters", "d_parameters")]
            order = [statistics.mean(part) if part else float("inf") for part in values]
            rows.append((runs[0]["conditional"], order, f"| {' | '.join(cells)} |"))
    columns = [f"{images:,} images" for images in budgets] + ["images/s", "parameters of G", "of D"]
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for conditional, heading in ((False, "without labels"), (True, "with labels")):
        part = [text for row_conditional, _, text in sorted(rows) if row_conditional == conditional]
        lines += [f"| *{heading}* |{' |' * len(columns)}", *part] if part else []
    return "\n".join(lines)


def _mean(values):
    if not values:
        return ""
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _budgets(report):
    return sorted({run["images"] for run in report["runs"]})


def write_page(report):
    """Writes docs/results.md."""
    if not report["runs"]:
        return
    notes = json.loads((RESULTS / "notes.json").read_text()) if (RESULTS / "notes.json").exists() else {}
    lines = [
        "# The family on Fashion-MNIST",
        "",
        *_caption(report),
        "",
        textwrap.fill(
            "The grids are the first samples of the first seed, not chosen, a grid for each number of images; of "
            "conditional models one class a column, of InfoGAN one category a column.",
            120,
        ),
        "",
        table(report),
        "",
    ]
    for recipe, name in RECIPES.items():
        grids = [(images, _grid(recipe, images)) for images in _budgets(report)]
        grids = [(images, path) for images, path in grids if path.exists()]
        if grids:
            lines += [f'## <a name="{recipe}"></a>{name}', "", f"`--flagfile={recipe}.flags`", ""]
            lines += [textwrap.fill(notes[recipe], 120), ""] if recipe in notes else []
            lines += [f"| {' | '.join(f'{images:,} images' for images, _ in grids)} |", "|" + "---|" * len(grids)]
            pictures = [f"![Samples of {name}](results/{path.name})" for _, path in grids]
            lines += [f"| {' | '.join(pictures)} |", ""]
    PAGE.write_text("\n".join(lines))


def _caption(report):
    seeds = {
        images: " ".join(map(str, sorted({run["seed"] for run in report["runs"] if run["images"] == images})))
        for images in _budgets(report)
    }
    versions = next(run["versions"] for run in report["runs"] if "versions" in run)
    cores, cpu = report["machine"]["cores"], report["machine"]["cpu"]
    text = (
        "Frechet distance of every recipe after the same number of images (of 60 000, shuffled anew each pass), on "
        f"{cores} cores of {cpu}, {report['date']}, TensorFlow {versions['tensorflow']}, Keras {versions['keras']}. "
        "Features of `fashion_mnist_cnn` (not FID), 10 000 test images against 10 000 samples of the moving average of "
        "the generator, mean and standard deviation where there are several seeds; images/s is that of the fastest "
        "run, as other load only slows. Made by"
    )
    commands = [f"python benchmarks/family.py --images={images} --seeds {given}" for images, given in seeds.items()]
    return [textwrap.fill(text, 120), "", "```", *commands, "```"]


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), help="what to train")
    parser.add_argument("--images", type=int, default=96_000, help="real images that each run sees")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data_dir", help="where TFDS keeps prepared data sets")
    parser.add_argument("--report_only", action="store_true", help="train nothing, write the page")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit(train(arguments) if arguments.worker else benchmark(arguments))
