"""A denoiser as a second pair of eyes for `snellen check`: which annotated points lie where they hardly can."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from snellen.data.boxes import BoxRule, make_box
from snellen.evaluation.suspect_pictures import write_suspect_pictures
from snellen.evaluation.suspects import rank_suspects
from snellen.images import PictureReader
from snellen.inference import StructureModel
from snellen.inference.structure import refuse_other_points
from snellen.keypoints.formats import LabelledImage, LabelledObject

__all__ = ["DenoiserRanking"]

#: Nats from which a finding is reported: the place is 400 times less probable than the best one (our choice).
ALARM = 6.0


class DenoiserRanking:
    """Ranks objects by the most surprising finding of each; see `snellen.evaluation.suspects`.

    Args:
        denoiser: the judge; its schema must be the annotations', but for left and right pairs, which it brings.
        root: folder of the images.
        folder: pictures of the first findings are written there; None for none.
        reader: how pictures are read.
    """

    def __init__(
        self,
        denoiser: StructureModel,
        root: Path,
        folder: Path | None,
        reader: PictureReader = PictureReader(),  # noqa: B008  # frozen
    ) -> None:
        self.denoiser, self.root, self.folder, self.reader = denoiser, root, folder, reader

    def __call__(
        self, objects: Sequence[tuple[LabelledImage, LabelledObject]], sizes: Mapping[str, tuple[int, int]]
    ) -> list[tuple[int, str]]:
        """Position and sentence of each suspect object, the most surprising first; one whose image is broken is left out.

        Args:
            objects: each with its image.
            sizes: (height, width) of the images that can be read, by file.

        Raises:
            ConfigError: for points of other names than the denoiser's.
        """
        own = self.denoiser.schema
        positions = [i for i, (image, _) in enumerate(objects) if image.file in sizes]
        keypoints, boxes, of_images = [], [], []
        rule = self.denoiser.card["box"]
        for image, labelled in (objects[i] for i in positions):
            refuse_other_points(own, replace(labelled.keypoints.schema, swaps=own.swaps), "these annotations")
            points = replace(labelled.keypoints, schema=own)
            height, width = sizes[image.file]
            box = make_box(cast(BoxRule, rule["rule"]), points, float(rule["scale"]), width, height, labelled.box)
            keypoints.append(points)
            boxes.append(box)
            of_images.append((height, width))
        names = [objects[i][0].file for i in positions]
        found = rank_suspects(keypoints, self.denoiser, boxes=boxes, sizes=of_images, names=names)
        found = [suspect for suspect in found if suspect.score >= ALARM]
        if self.folder is not None and found:
            write_suspect_pictures(
                found, keypoints, boxes, self.folder, image=lambda i: self._picture(objects[positions[i]][0].file)
            )
        first: dict[int, str] = {}
        for suspect in found:
            first.setdefault(positions[suspect.index], str(suspect))
        return list(first.items())

    def _picture(self, file: str) -> NDArray[np.uint8]:
        return self.reader.image(self.root / file).permute(1, 2, 0).numpy()
