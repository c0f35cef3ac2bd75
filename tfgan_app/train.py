"""Trains a GAN: flags -> data -> model -> fit -> export.

    python -m tfgan_app.train --flagfile=mnist.flags

The same command goes on where an interrupted run stopped. A flag that is left unset means the model's own value, which
is its paper's.
"""

import functools
import shlex
import sys

from absl import flags

from tfgan_app import cli
from tfgan_app.runs.settings import Settings

__all__ = ["main", "run"]

cli.define(Settings.rows())
flags.DEFINE_boolean("dry_run", False, "Show the configuration and the model, do one step on noise, write nothing.")
flags.DEFINE_boolean("print_config", False, "Print the configuration as a flagfile and end.")


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    settings = Settings(**cli.given(Settings.rows()))
    if flags.FLAGS.print_config:
        cli.say(cli.flagfile(settings).rstrip("\n"))
        return 0

    from tfgan_app.callbacks import Stopped
    from tfgan_app.runs.session import Session

    command = f"python -m tfgan_app.train {shlex.join(sys.argv[1:])}"
    with Session(settings, cli.say, sys.stdout, command) as session:
        if flags.FLAGS.dry_run:
            session.dry_run()
            return 0
        try:
            session.train()
        except Stopped as stop:
            cli.say(f"Stopped by {stop}. Go on with:\n  {command}")
            return 128 + stop.signum
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
