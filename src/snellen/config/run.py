"""What every run has, whatever its task."""

from dataclasses import dataclass, field

from snellen.config.checks import require
from snellen.config.images import DataConfig
from snellen.config.training import EvaluateConfig, ModelConfig, TrainConfig
from snellen.config.values import coerce_fields

__all__ = ["RunConfig"]


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run; each task's own class adds its images and its scoring (config/tasks.py lists them).

    Attributes:
        task: what the model answers with.
        recipe: name of the recipe this came from.
        seed: seeds the weights, the order of the images and every augmentation draw.
        out: folder that holds run folders.
        name: name of the run folder; empty makes `RECIPE-seedN`.
        data: images and what the network sees of them.
        model: network and choices.
        train: optimisation.
        evaluate: scoring.
    """

    task: str
    recipe: str = "custom"
    seed: int = 0
    out: str = "runs"
    name: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        coerce_fields(self, "")
        require(self.seed >= 0, f"seed must be 0 or more, not {self.seed}")
        plain = self.name not in (".", "..") and not set(self.name) & set("/\\")
        require(plain, f"name {self.name!r} is a path; give the run folder's plain name, and where it lies with --out")

    @property
    def run_name(self) -> str:
        """The run folder's name."""
        return self.name or f"{self.recipe}-seed{self.seed}"
