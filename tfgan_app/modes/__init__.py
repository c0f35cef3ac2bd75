"""Tests of mode collapse on data whose modes are known, by the protocol of PacGAN.

Lin et al. 2017, https://arxiv.org/abs/1712.04086, section 4: mixtures of Gaussians in the plane, and stacked MNIST.
"""

from tfgan_app.modes.coverage import Coverage, kl_to_uniform
from tfgan_app.modes.digits import StackedDigits
from tfgan_app.modes.methods import METHODS, Adam, Method, Setting
from tfgan_app.modes.mixtures import Mixture
from tfgan_app.modes.report import Report, table
from tfgan_app.modes.tasks import CANDIDATES, SETTINGS, TASKS, methods

__all__ = [
    "CANDIDATES",
    "METHODS",
    "SETTINGS",
    "TASKS",
    "Adam",
    "Coverage",
    "Method",
    "Mixture",
    "Report",
    "Setting",
    "StackedDigits",
    "kl_to_uniform",
    "methods",
    "table",
]
