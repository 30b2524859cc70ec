"""The configuration of segmentation: images and label maps, losses, scoring."""

from dataclasses import dataclass, field
from typing import Literal

from snellen.config.augment import AugmentConfig
from snellen.config.checks import require
from snellen.config.images import DataConfig
from snellen.config.run import RunConfig
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig

__all__ = ["SegmentationConfig", "SegmentationDataConfig", "SegmentationEvaluateConfig", "SegmentationTrainConfig"]


@dataclass(frozen=True)
class SegmentationDataConfig(DataConfig):
    """Images and label maps; `DataConfig` has what every task has.

    Attributes:
        format: how the data are stored: "segnet" (train, trainannot, ...), "voc" (PASCAL VOC), "masks" (images/ and masks/).
        classes: names of the labels 0, 1, ...; by default the format's own, for "masks" the lines of classes.txt.
        ignore: label of pixels without a class; by default the one after the last class for "segnet", else 255.
        train_list: for "voc", the list of the training split, such as "trainaug".
        val_list: for "voc", the list of the validation split; none holds out `val_share` of the training list.
        test_list: for "voc", the list of the test split.
        crop: in training keep the images' scale and show a window of them, where without it the whole image is fitted into
            the canvas; both before `augment`.
    """

    channels: Literal[1, 3] = 3
    canvas: tuple[int, int] = (360, 480)
    format: Literal["segnet", "voc", "masks"] = "masks"
    classes: tuple[str, ...] = ()
    ignore: int | None = None
    train_list: str = "train"
    val_list: str | None = "val"
    test_list: str = "test"
    crop: bool = False


@dataclass(frozen=True)
class SegmentationTrainConfig(TrainConfig):
    """How a segmentation network is trained; what every task has is in `TrainConfig`.

    Attributes:
        class_weights: "none", or "median-frequency": rare classes weigh more (Eigen and Fergus 2015; SegNet, 3.1).
    """

    class_weights: Literal["none", "median-frequency"] = "none"


@dataclass(frozen=True)
class SegmentationEvaluateConfig(EvaluateConfig):
    """How label maps are scored; what every task has is in `EvaluateConfig`.

    Attributes:
        boundary: tolerance of the boundary F-score, as a share of the image's diagonal (Csurka et al. 2013: 0.0075).
    """

    batch_size: int = 8
    boundary: float = 0.0075

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.boundary < 1, f"evaluate.boundary is a share of the diagonal, not {self.boundary}")


@dataclass(frozen=True)
class SegmentationConfig(RunConfig):
    """A run that labels every pixel of an image.

    Attributes:
        task: "segmentation".
        data: images and label maps.
        augment: changes to training images and their label maps.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    task: Literal["segmentation"] = "segmentation"
    data: SegmentationDataConfig = field(default_factory=SegmentationDataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig("segnet"))
    train: SegmentationTrainConfig = field(default_factory=SegmentationTrainConfig)
    evaluate: SegmentationEvaluateConfig = field(default_factory=SegmentationEvaluateConfig)
