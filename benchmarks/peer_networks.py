"""The networks that benchmarks/peers.py compares: ours, and others trained by us with the same steps."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float64
from numpy.typing import NDArray

from peer_models import MissingPeerError, Trained
from predict_speed import fresh
from record import train_once
from snellen import api
from snellen.config import KeypointConfig
from snellen.data import KeypointDataset
from snellen.evaluation.compare.settings import differing_settings
from snellen.evaluation.keypoints import score
from snellen.evaluation.results.recording import run_circumstances
from snellen.inference import load_localiser, predict_dataset
from snellen.training.metrics import image_errors, normalised_errors
from snellen.training.runs import RunFolder

__all__ = ["NETWORKS", "RECIPE", "Networks", "Row"]

RECIPE = "faces68-rcn"
#: As recipe faces68-timm trains such a trunk. Steps, batches, photos, boxes, canvas and changes to the images are the
#: recipe's; heatmaps of stride 2, since half of 24 x 24 cells would lose what is compared (our choice).
_TIMM = {"model.name": "rcn", "train.lr": 0.002, "train.target": "gauss", "train.sigma": 1.0}
#: Networks trained here -> settings that differ from the recipe's. The sum of each map's scores is the linear form of
#: HRNetV2's head, a 1x1 convolution of all its maps.
NETWORKS: dict[str, dict[str, Any]] = {
    "snellen": {},
    "timm-unet": {**_TIMM, "model.choices": {"backbone": "timm:resnet18", "aggregate": "unet", "stride": 2}},
    "hrnet": {**_TIMM, "model.choices": {"backbone": "timm:hrnet_w18", "aggregate": "sum", "stride": 2}},
    "hrnet-small": {**_TIMM, "model.choices": {"backbone": "timm:hrnet_w18_small", "aggregate": "sum", "stride": 2}},
}
#: Settings that a record's command leaves to the reader's machine, and one that 300-W folders do not use.
_OWN = ("data.root", "train.threads", "seed", "data.annotations")


@dataclass
class Row:
    """What one peer came to.

    Attributes:
        outcomes: scores and circumstances of each seed, as `records_of` takes them.
        errors: (n,) mean errors of the photos over the seeds, fractions.
        seeds: of the outcomes.
        pretrained: whether its weights come from elsewhere.
        note: for the record.
    """

    outcomes: list[tuple[dict[str, Any], dict[str, Any]]]
    errors: Float64[NDArray[np.float64], " n"]
    seeds: list[int]
    pretrained: bool
    note: str


class Networks:
    """The networks trained here: their configurations, run folders and answers.

    Args:
        chosen: the command line.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.runs, self.data = Path(chosen.runs), chosen.data
        self.settings = {key: yaml.safe_load(value) for key, value in (s.split("=", 1) for s in chosen.set)}

    def overrides(self, name: str) -> dict[str, Any]:
        """Settings that differ from the recipe's, by dotted names."""
        return {"data.root": self.data, **NETWORKS[name], **self.settings}

    def config(self, name: str) -> KeypointConfig:
        """The configuration of a row."""
        config = api.resolve(RECIPE, self.overrides(name))
        assert isinstance(config, KeypointConfig)
        return config

    def folder(self, name: str, seed: int) -> RunFolder:
        """Where a run is; ours is that of the recipe's own records."""
        return RunFolder(self.runs / f"{RECIPE if name == 'snellen' else f'peers-{name}'}-seed{seed}")

    def finished(self, name: str, seed: int) -> RunFolder:
        """The run of a row.

        Raises:
            MissingPeerError: where it is not finished, or of other settings.
        """
        folder = self.folder(name, seed)
        if not folder.finished:
            raise MissingPeerError(f"{folder.path} is no finished run; give --train, or --runs")
        different = [k for k in differing_settings(folder.config(), self.config(name)) if k not in _OWN]
        if different:
            raise MissingPeerError(
                f"{folder.path} was trained with other settings ({', '.join(different)}); move it away"
            )
        return folder

    def row(self, name: str, seeds: Sequence[int], images: KeypointDataset) -> Row:
        """Scores of all seeds, by the code of `snellen evaluate`."""
        outcomes, errors = [], []
        for seed in seeds:
            folder = self.finished(name, seed)
            config = folder.config()
            assert isinstance(config, KeypointConfig)
            localiser = load_localiser(folder.path, "cpu")
            localiser.flip, localiser.decoder = config.evaluate.flip, config.evaluate.decoder
            found = predict_dataset(localiser, images, batch_size=config.evaluate.batch_size)
            scores = {**score(localiser, found, config), "parameters": localiser.card["parameters"]}
            outcomes.append((scores, run_circumstances(folder)))
            normaliser = scores["normaliser"]
            errors.append(image_errors(normalised_errors(found.pred, found.true, localiser.schema, normaliser)))
        note = "" if name == "snellen" else "from scratch, photos and steps as of peers/snellen"
        return Row(outcomes, np.mean(errors, axis=0), list(seeds), False, note)

    def train(self, name: str, seed: int) -> None:
        """Train a row, or go on where that was interrupted; a finished run stays as it is."""
        folder = self.folder(name, seed)
        if not folder.finished:
            train_once(folder, RECIPE, self.overrides(name), seed)

    def timed(self, name: str, seed: int) -> Trained:
        """The network of a row: trained, or with drawn weights where it is not."""
        try:
            return Trained(load_localiser(self.finished(name, seed).path, "cpu"))
        except MissingPeerError:
            return Trained(fresh(self.config(name)), "drawn weights, as fast as trained ones")
