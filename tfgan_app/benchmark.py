"""Measures GANs on problems whose answer is known.

python -m tfgan_app.benchmark modes --task=ring --model=gan,pacgan2,best --seeds=10 --setting=short

The same command goes on where an interrupted one stopped.
"""

import dataclasses
import datetime
import functools
import json
import sys

from absl import flags

from tfgan_app import cli
from tfgan_app.base import errors
from tfgan_app.base.files import local_path

__all__ = ["main", "run"]

flags.DEFINE_enum(
    "task",
    "ring",
    ["ring", "grid", "stacked_mnist"],
    "The data: 8 Gaussians on a circle, 25 on a grid, or digits in three channels.",
)
flags.DEFINE_list("model", ["gan", "wgan_gp", "pacgan2", "r3gan", "best"], "GANs to compare, on the same networks.")
flags.DEFINE_enum("setting", "paper", ["paper", "short"], "Networks and budget: PacGAN's, or small ones for two cores.")
flags.DEFINE_integer("seeds", 10, "Runs of each, with seeds 0, 1, 2, ...", lower_bound=1)
flags.DEFINE_integer("steps", None, "Updates of D. Default: the setting's.", lower_bound=1)
flags.DEFINE_integer("batch_size", None, "Samples an update of D. Default: the setting's.", lower_bound=1)
flags.DEFINE_boolean("small_discriminator", False, "Give D a quarter of G's channels (stacked_mnist).")
flags.DEFINE_string("out", "modes", "Folder of the results: JSON, a table and a plot for each task.")


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    from tfgan_app import modes
    from tfgan_app.base.versions import versions

    name, seeds = flags.FLAGS.task, list(range(flags.FLAGS.seeds))
    task, methods, setting = modes.TASKS[name], modes.methods(name, flags.FLAGS.setting), _setting(modes)
    unknown = [model for model in flags.FLAGS.model if model not in methods]
    if unknown or not flags.FLAGS.model:
        raise errors.UsageError(f"--model={','.join(unknown)} is not among {', '.join(methods)}")
    stem = f"{name}_small_discriminator" if flags.FLAGS.small_discriminator else name
    try:
        report = modes.Report(local_path(flags.FLAGS.out), stem, {"task": name, **dataclasses.asdict(setting)})
        for model in flags.FLAGS.model:
            report.begin(model, methods[model].facts())
    except ValueError as error:
        raise errors.UsageError(f"--out: {error}") from error
    report.content |= {"setting": flags.FLAGS.setting, "date": f"{datetime.date.today()}", "versions": versions()}
    report.content["real"] = dataclasses.asdict(task.coverage(task.sample(task.num_samples, seed=0)))
    for start in range(0, len(seeds), setting.seeds_at_once):
        # Method by method for each group of seeds, so that what is interrupted has compared all of them.
        for model in flags.FLAGS.model:
            group = report.missing(model, seeds[start : start + setting.seeds_at_once])
            if group:
                for found in _run(task, model, methods[model], setting, group, report):
                    print(json.dumps(found), file=sys.stderr, flush=True)
    runs = [found for model in flags.FLAGS.model for found in report.content["runs"] if found["method"] == model]
    report.save()
    report.plot(task, flags.FLAGS.model)
    text = modes.table(runs, report.content["real"])
    (report.folder / f"{stem}.md").write_text(f"{text}\n", encoding="utf-8")
    cli.say(text)
    return 0


def _setting(modes):
    setting = modes.SETTINGS[flags.FLAGS.task][flags.FLAGS.setting]
    given = {name: flags.FLAGS[name].value for name in ("steps", "batch_size")}
    setting = dataclasses.replace(setting, **{name: value for name, value in given.items() if value is not None})
    if not flags.FLAGS.small_discriminator:
        return setting
    if flags.FLAGS.task != "stacked_mnist":
        raise errors.UsageError(f"--small_discriminator is for --task=stacked_mnist, not {flags.FLAGS.task}")
    return dataclasses.replace(setting, d_width=setting.g_width // 4)


def _run(task, name, method, setting, seeds, report):
    import time

    began = time.monotonic()
    drawn = task.train(method, setting, seeds)
    seconds = round((time.monotonic() - began) / len(seeds), 1)
    for seed, samples in zip(seeds, drawn, strict=True):
        found = {"method": name, "seed": seed, **dataclasses.asdict(task.coverage(samples)), "seconds": seconds}
        report.add(found, task.shown(samples))
        yield found


run = functools.partial(cli.run, main, ("modes",))

if __name__ == "__main__":
    run()
