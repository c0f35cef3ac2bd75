"""Trains every recipe of the family on Fashion-MNIST with the same number of images, and reports what came out.

    python benchmarks/family.py --images=96000 --seeds 0 1 2 --data_dir=DIR

A recipe is a flagfile of `tfgan_app/flags` for two cores; it is trained as it stands, but for the number of steps:
`images` real images pass through the discriminator, whatever the batch and the discriminator's updates a step. Each run
is a process of its own that has the machine to itself; recipes take turns, seed by seed. images/s counts from the end
of the first step, which traces the graph. The samples are those of the EMA generator, seed 0, scored on 10 000 test
images.

Runs that the report holds already are not repeated, so an interrupted command goes on, and `--report_only` writes the
pages anew: `docs/results.md` with every sample grid, and the table between its marks in README.md.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import textwrap
import time

from processes import RunError, busy_fraction, call, machine, parse_result

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
    "infogan": "InfoGAN",
    "cgan": "CGAN",
    "acgan": "ACGAN",
    "projection_gan": "Projection GAN",
    "sagan": "SAGAN",
    "biggan": "BigGAN",
}
MARKS = "<!-- family: made by benchmarks/family.py -->", "<!-- end of family -->"


def benchmark(args):
    """Runs what is missing, then writes the pages; returns the process's exit code."""
    path = RESULTS / "family.json"
    report = json.loads(path.read_text()) if path.exists() else {"images": args.images, "runs": []}
    if report["images"] != args.images:
        raise SystemExit(f"{path} holds runs of {report['images']} images; move it away to train on {args.images}.")
    RESULTS.mkdir(parents=True, exist_ok=True)
    done = {(run["recipe"], run["seed"]) for run in report["runs"] if "value" in run}
    missing = [(seed, recipe) for seed in args.seeds for recipe in args.recipes if (recipe, seed) not in done]
    for seed, recipe in [] if args.report_only else missing:
        run = {"recipe": recipe, "seed": seed, "busy_before": busy_fraction()}
        try:
            run |= _run(args, recipe, seed)
        except RunError as error:
            run["error"] = str(error)
        report["runs"] = [r for r in report["runs"] if (r["recipe"], r["seed"]) != (recipe, seed)] + [run]
        report |= {"machine": machine(), "date": datetime.date.today().isoformat()}
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(json.dumps(run), file=sys.stderr, flush=True)
    write_pages(report)
    return int(any("error" in run for run in report["runs"]))


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
    from absl import flags

    import tfgan_app.train
    from tfgan_app import cli, pictures, runs
    from tfgan_app.metrics.extractors import load_extractor
    from tfgan_app.metrics.receipts import drawing, score, versions
    from tfgan_app.precision import choose_precision

    (recipe,), (seed,) = args.recipes, args.seeds
    given = [f"--flagfile={cli.RECIPES / recipe}.flags", f"--seed={seed}"]
    flags.FLAGS([__file__, *given, *([f"--data_dir={args.data_dir}"] if args.data_dir else [])])
    settings: dict = {name: flags.FLAGS[name].value for name in tfgan_app.train.SETTINGS}
    model = getattr(tfgan_app.models, settings["model"])
    settings["precision"] = choose_precision(settings["mixed_precision"], model).name
    keras.utils.set_random_seed(seed)
    images, test = (runs.open_split(settings, split) for split in ("train", "test"))
    gan = runs.build_gan(settings, images.image_shape, images.num_classes)
    per_step = settings["batch_size"] * gan.n_critic
    steps = args.images // per_step

    class Clock(keras.callbacks.Callback):
        """Takes the time from the end of the first step to the end of the last."""

        began = ended = 0.0

        def on_train_batch_end(self, batch, logs=None):
            self.ended = time.perf_counter()
            self.began = self.began or self.ended

    clock = Clock()
    batches = images.batches(settings["batch_size"], seed=seed)
    gan.fit(batches, steps_per_epoch=steps, callbacks=[clock], verbose=0, shuffle=False)
    extractor = load_extractor("fashion_mnist_cnn")
    receipt = score(drawing(gan, 10_000, seed=0), test, extractor, fake={"source": recipe, "seed": 0})
    if seed == 0:
        classes = gan.num_classes
        columns = classes if classes else 10
        pictures.save_png(RESULTS / f"{recipe}.png", pictures.grid(gan.sample(6 * columns, seed=0), columns), 2)
    result = {
        "value": receipt["value"],
        "extractor": receipt["extractor"]["sha256"],
        "steps": steps,
        "images_per_second": round((steps - 1) * per_step / (clock.ended - clock.began), 1),
        "g_parameters": sum(v.shape.num_elements() for v in _tensors(gan.generator)),
        "d_parameters": sum(v.shape.num_elements() for v in _tensors(gan.discriminator)),
        "conditional": bool(gan.unpack(next(iter(test.in_order(2))))[1]),
        "precision": settings["precision"],
        "versions": versions(),
    }
    print(json.dumps(result))
    return 0


def _tensors(network):
    return [variable.value for variable in network.trainable_variables]


def table(report):
    """Returns the Markdown table of a report, best Frechet distance first, unconditional models before conditional."""
    rows = []
    for recipe, name in RECIPES.items():
        runs = [run for run in report["runs"] if run["recipe"] == recipe and "value" in run]
        if runs:
            values = [run["value"] for run in runs]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            rate = max(run["images_per_second"] for run in runs)
            sizes = f"{runs[0]['g_parameters']:,} | {runs[0]['d_parameters']:,}"
            mean = statistics.mean(values)
            text = f"| [{name}](docs/results.md#{recipe}) | {mean:.2f}{spread} | {rate:,.0f} | {sizes} |"
            rows.append((runs[0]["conditional"], mean, text))
    lines = ["| | Frechet distance | images/s | parameters of G | of D |", "|---|---:|---:|---:|---:|"]
    for conditional, heading in ((False, "without labels"), (True, "with labels")):
        part = [text for row_conditional, _, text in sorted(rows) if row_conditional == conditional]
        lines += [f"| *{heading}* | | | | |", *part] if part else []
    return "\n".join(lines)


def write_pages(report):
    """Writes docs/results.md, and the table into README.md between its marks."""
    if not report["runs"]:
        return
    notes = json.loads((RESULTS / "notes.json").read_text()) if (RESULTS / "notes.json").exists() else {}
    caption = _caption(report)
    lines = [
        "# The family on Fashion-MNIST",
        "",
        *caption,
        "",
        "The grids are the first samples of the first seed, not chosen; of conditional models one class a column, of "
        "InfoGAN one category a column.",
        "",
        table(report).replace("docs/results.md", ""),
        "",
    ]
    for recipe, name in RECIPES.items():
        if (RESULTS / f"{recipe}.png").exists():
            lines += [f'## <a name="{recipe}"></a>{name}', "", f"`--flagfile={recipe}.flags`", ""]
            lines += [notes[recipe], ""] if recipe in notes else []
            lines += [f"![Samples of {name}](results/{recipe}.png)", ""]
    PAGE.write_text("\n".join(lines))
    readme = ROOT / "README.md"
    text = readme.read_text()
    if all(mark in text for mark in MARKS):
        before, rest = text.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        text = "\n".join([*caption, "", table(report)])
        readme.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def _caption(report):
    seeds = sorted({run["seed"] for run in report["runs"]})
    versions = next(run["versions"] for run in report["runs"] if "versions" in run)
    cores, cpu = report["machine"]["cores"], report["machine"]["cpu"]
    text = (
        f"Every recipe trained on the same number of images, {report['images']:,} (of 60 000, shuffled anew each "
        f"pass), with seeds {', '.join(map(str, seeds))}, on {cores} cores of {cpu}, {report['date']}, TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}. Frechet distance with features of `fashion_mnist_cnn` "
        "(not FID), 10 000 test images against 10 000 samples of the moving average of the generator, mean and "
        "standard deviation over the seeds; images/s is that of the fastest seed, as other load only slows. Made by"
    )
    command = f"python benchmarks/family.py --images={report['images']} --seeds {' '.join(map(str, seeds))}"
    return [textwrap.fill(text, 120), "", "```", command, "```"]


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), help="what to train")
    parser.add_argument("--images", type=int, default=96_000, help="real images that each run sees")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data_dir", help="where TFDS keeps prepared data sets")
    parser.add_argument("--report_only", action="store_true", help="train nothing, write the pages")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit(train(arguments) if arguments.worker else benchmark(arguments))
