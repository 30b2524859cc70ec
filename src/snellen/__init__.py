"""Snellen: vision models that must know where things are.

>>> import snellen
>>> run = snellen.train("wings-rcn", seed=1)            # doctest: +SKIP
>>> snellen.load(run).predict("wing.png")[0].xy          # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.api import (
        compare,
        compare_runs,
        evaluate,
        export,
        load,
        models,
        predict,
        recipes,
        report,
        reproduce,
        resume,
        train,
    )
    from snellen.keypoints import Keypoints, Schema
    from snellen.models import create_model, list_models
    from snellen.models.recalibration import add_recalibration
    from snellen.models.surgery import replace_pooling

__version__ = "0.1.0"

__all__ = [
    "Keypoints",
    "Schema",
    "add_recalibration",
    "compare",
    "compare_runs",
    "create_model",
    "evaluate",
    "export",
    "list_models",
    "load",
    "models",
    "predict",
    "recipes",
    "replace_pooling",
    "report",
    "reproduce",
    "resume",
    "train",
]

_HOME = {
    **dict.fromkeys(("compare", "compare_runs", "reproduce"), "snellen.api"),
    **dict.fromkeys(
        ("evaluate", "export", "load", "models", "predict", "recipes", "report", "resume", "train"), "snellen.api"
    ),
    **dict.fromkeys(("create_model", "list_models"), "snellen.models"),
    "add_recalibration": "snellen.models.recalibration",
    "replace_pooling": "snellen.models.surgery",
    **dict.fromkeys(("Keypoints", "Schema"), "snellen.keypoints"),
}


def __getattr__(name: str) -> Any:
    """Import public names at first use: `import snellen` itself imports nothing heavy."""
    if name in _HOME:
        module = importlib.import_module(_HOME[name])
        if name == "models":  # the verb, not the room of the same name
            return module.models
        return getattr(module, name)
    raise AttributeError(f"module 'snellen' has no attribute {name!r}; public names are {', '.join(__all__)}")
