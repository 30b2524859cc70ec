"""The verbs, as typed functions: the command line and Python call the same ones.

Nothing heavy is imported at the top, so that `import snellen` and `snellen --help` answer at once.
"""

from snellen.api.annotations import check, convert
from snellen.api.experiments import compare, compare_runs, reproduce
from snellen.api.listings import claims, models, recipes
from snellen.api.training import cross_validate, resolve, resume, train, train_config
from snellen.api.using import evaluate, export, load, predict, report

__all__ = [
    "check",
    "claims",
    "compare",
    "compare_runs",
    "convert",
    "cross_validate",
    "evaluate",
    "export",
    "load",
    "models",
    "predict",
    "recipes",
    "report",
    "reproduce",
    "resolve",
    "resume",
    "train",
    "train_config",
]
