"""Trains and scores the translators of docs/translation.md, each beside the way that needs no training.

    python scripts/prepare_photographs.py DATA/photographs
    python scripts/prepare_emoji.py DATA/emoji
    python scripts/prepare_digits.py DATA/digits
    python benchmarks/translation.py --data=DATA --data_dir=TFDS --runs=RUNS --out=docs/translation/results.json

Each run is `python -m tfgan_app.train` with the flags of a task and a variant of it; those that are done already are
not trained again. Variants of a task take turns, seed by seed. It prints a table a task: scores on the pictures held
out, mean and standard deviation over the seeds, and the minutes of one core that training and scoring took, which
other processes of the machine change little. docs/translation.md shows the tables of docs/translation/results.json
between marks of the tasks' names, each with a picture of what the first seed's runs make of held-out pictures. Tasks
that are not asked for stay there as they are.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import resource
import statistics
import sys

import numpy as np
from PIL import Image
from processes import call, machine, write_between

import tfgan_app
from tfgan_app.base import pictures

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "translation.md"


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learnt, in which ways, and how it is scored.

    Attributes:
        title: Of the table.
        flags: Of training.
        variants: Flags more, by the variant's name.
        scores: That the table shows.
        truth: Flags of `evaluate`, where training's own scores do not know the truth.
        once: Variants that the first seed alone trains, because they take long.
        known: Whether the samples of a run show the truth.
    """

    title: str
    flags: tuple[str, ...]
    variants: dict[str, tuple[str, ...]]
    scores: tuple[str, ...]
    truth: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    known: bool = True


EMOJI = ("--dataset={data}/emoji", "--image_size=64")
TASKS = {
    "superres": Task(
        "Super-resolution x4 of photographs",
        ("--flagfile=superres.flags", "--dataset={data}/photographs"),
        {"SRGAN": (), "pixels alone": ("--pretrain_steps=3000", "--train_steps=3000")},
        ("psnr_y", "ssim_y", "psnr", "ssim"),
        once=("SRGAN",),
    ),
    "strokes": Task(
        "Holes in Fashion-MNIST, strokes",
        ("--flagfile=deepfill.flags",),
        {"L1 alone": ("--adversarial_weight=0",), "DeepFillV2": ()},
        ("mae_hole", "psnr_hole", "ssim", "fd"),
    ),
    "denoise": Task(
        "Noise of 50 levels in Fashion-MNIST",
        ("--flagfile=pix2pix_denoise.flags",),
        {"L1 alone": ("--adversarial_weight=0",), "Pix2Pix": ()},
        ("psnr", "ssim", "mae"),
    ),
    "colours": Task(
        "Colours for grey emoji of 64x64",
        ("--flagfile=pix2pix_colours.flags", *EMOJI),
        {"L1 alone": ("--adversarial_weight=0",), "Pix2Pix": ()},
        ("psnr", "ssim", "mae"),
    ),
    "edges": Task(
        "Emoji of 64x64 from their edges",
        ("--flagfile=pix2pix_edges.flags", *EMOJI),
        {"L1 alone": ("--adversarial_weight=0",), "Pix2Pix": ()},
        ("psnr", "ssim", "mae"),
    ),
    "unpaired": Task(
        "Edges and pictures of Fashion-MNIST without pairs, scored by the truth",
        ("--flagfile=cycle_gan_edges.flags",),
        {"CycleGAN": (), "without the cycle": ("--model_arg=cycle_weight=0",)},
        ("psnr", "ssim", "fd", "psnr_back"),
        ("--truth",),
        known=False,
    ),
    "hands": Task(
        "Digits of one hand to another's",
        (
            *("--model=CycleGAN", "--model_arg=g_channels=16", "--model_arg=d_channels=32", "--model_arg=blocks=4"),
            *("--dataset=mnist_5k", "--targets={data}/digits", "--image_size=28", "--channels=1", "--batch_size=4"),
            *("--decay_learning_rates", "--decay_from=5000", "--train_steps=10000"),
        ),
        {"CycleGAN": ()},
        ("fd", "fd_back", "cycle_mae"),
        known=False,
    ),
}
DIGITS = dict.fromkeys(("psnr", "psnr_y", "psnr_hole", "psnr_back", "fd", "fd_back"), 2)
DIGITS |= {"ssim": 3, "ssim_y": 3}


def table(task, runs):
    """Returns a task's runs as a Markdown table: a row a variant, and one of the way that needs no training."""
    lines = [f"| | {' | '.join(task.scores)} | core minutes |", "|---|" + "---:|" * (len(task.scores) + 1)]
    baseline = next((run["baseline"] for run in runs if run.get("baseline")), None)
    if baseline:
        values = [_text(name, [baseline["scores"][name]] if name in baseline["scores"] else []) for name in task.scores]
        lines.append(f"| {baseline['name']} | {' | '.join(values)} | |")
    for variant in task.variants:
        own = [run for run in runs if run["variant"] == variant]
        values = [_text(name, [run["scores"][name] for run in own if name in run["scores"]]) for name in task.scores]
        seconds = [run["core_seconds"] for run in own if run["core_seconds"] is not None]
        minutes = f"{statistics.median(seconds) / 60:.0f}" if seconds else "-"
        lines.append(f"| {variant} | {' | '.join(values)} | {minutes} |")
    return "\n".join(lines)


def _text(name, values):
    if not values:
        return "-"
    digits = DIGITS.get(name, 4)
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def trained(task, variant, seed, args):
    """Trains and scores one variant; returns what the report keeps of it."""
    folder = args.runs / run_name(task, variant, seed)
    flags = [flag.format(data=args.data) for flag in (*TASKS[task].flags, *TASKS[task].variants[variant])]
    command = [sys.executable, "-m", "tfgan_app.train", *flags, f"--seed={seed}", f"--run_dir={folder}"]
    clock, done, begun = folder / "core_seconds.txt", (folder / "saved_model").exists(), _core_seconds()
    timed = clock.exists() or not folder.exists()  # from its first step on
    try:
        call([*command, *([f"--data_dir={args.data_dir}"] if args.data_dir else [])])
    finally:
        # A run that stopped goes on with its next call, which adds its own.
        if timed and not done and folder.exists():
            before = int(clock.read_text()) if clock.exists() else 0
            clock.write_text(f"{before + _core_seconds() - begun:.0f}\n")
    path = max((folder / "scores").glob("step_*.json"))
    if TASKS[task].truth:
        path = folder / "truth.json"
        command = [sys.executable, "-m", "tfgan_app.evaluate", f"--run={folder}", f"--out={path}"]
        call([*command, *TASKS[task].truth])
    receipt = json.loads(path.read_text())
    kept = {key: receipt[key] for key in ("scores", "baseline") if key in receipt}
    facts = {"used": receipt["real"]["used"], "step": receipt["fake"]["step"]}
    seconds = int(clock.read_text()) if clock.exists() else None
    return {"task": task, "variant": variant, "seed": seed, "core_seconds": seconds, **facts, **kept}


def picture(task, folders):
    """Returns what the runs of a task's variants make of some pictures, beside the source and the truth.

    Args:
        task: The task.
        folders: The folder of a run, by variant.
    """
    border, shown = 2, 3 if task.known else 2
    columns: dict[str, np.ndarray] = {}
    for variant, folder in folders.items():
        sheet = np.asarray(Image.open(max((folder / "samples").glob("step_*.png"))).convert("RGB"))
        pitch = (sheet.shape[1] - border) // shown
        side = pitch - border
        titles = pictures.titled(sheet[:border], ["source", "output", "truth"][:shown]).shape[0] - border
        body = sheet[titles + border :]
        body = body.reshape(-1, pitch, *body.shape[1:])[:, :side]
        cells = [body[:, :, border + place * pitch :][:, :, :side] for place in range(shown)]
        columns |= {"source": cells[0], variant: cells[1]}
    if task.known:
        columns["truth"] = cells[2]
    tiles = pictures.tile(np.concatenate(np.stack(list(columns.values()), axis=1)), len(columns))
    scale = max(1, 80 // side)
    return pictures.titled(tiles.repeat(scale, 0).repeat(scale, 1), list(columns))


def show(name, report, args):
    """Puts a task's table and picture into docs/translation.md."""
    task, runs = TASKS[name], [run for run in report["runs"] if run["task"] == name]
    seeds = sorted({run["seed"] for run in runs})
    folders = {variant: args.runs / run_name(name, variant, seeds[0]) for variant in task.variants}
    target = PAGE.with_suffix("") / f"{name}.png"
    pictures.save_png(target, picture(task, folders))
    once = "".join(f", {variant} the first" for variant in task.once)
    first, some = runs[0], "s" * (len(seeds) > 1)
    facts = (
        f"{first['machine']['cores']} cores of {first['machine']['cpu']}, {first['date'][:10]}; {first['used']} "
        f"held-out pictures; seed{some} {', '.join(map(str, seeds))}{once}."
    )
    flags = " ".join(flag.format(data="DATA") for flag in task.flags)
    others = [f"{variant} with `{' '.join(flags)}`" for variant, flags in task.variants.items() if flags]
    command = f"`{flags}`{''.join(f', {other}' for other in others)}."
    marks = f"<!-- {name}: made by benchmarks/translation.py -->", f"<!-- end of {name} -->"
    text = f"{facts} {command}\n\n{table(task, runs)}\n\n![{task.title}](translation/{target.name})"
    write_between(PAGE, marks, text)


def run_name(task, variant, seed):
    """Returns the name of a run's folder."""
    return "_".join([task, *"".join(c if c.isalnum() else " " for c in variant).split(), str(seed)]).lower()


def _core_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(args):
    """Runs what was asked for, and prints the tables."""
    before = json.loads(args.out.read_text())["runs"] if args.out.exists() else []
    report = {"runs": [run for run in before if run["task"] not in args.tasks]}
    facts = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "version": tfgan_app.__version__,
    }
    for task in args.tasks:
        for seed in args.seeds:
            for variant in TASKS[task].variants:
                if variant in TASKS[task].once and seed != args.seeds[0]:
                    continue
                report["runs"].append({**trained(task, variant, seed, args), **facts})
                # After each run, so that an interruption leaves what is done.
                args.out.write_text(json.dumps(report, indent=2) + "\n")
        if args.out.resolve().parent == PAGE.with_suffix(""):
            show(task, report, args)
        print(f"\n{TASKS[task].title}\n\n{table(TASKS[task], [run for run in report['runs'] if run['task'] == task])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="Folder of what the scripts prepared.")
    parser.add_argument("--data_dir", help="Where TFDS keeps Fashion-MNIST.")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="Where the report goes.")
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="Where the runs go.")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    main(parser.parse_args())
