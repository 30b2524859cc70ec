"""The configuration of images, for every task."""

from dataclasses import dataclass
from typing import Literal

from snellen.config.checks import require
from snellen.config.values import coerce_fields

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Images and what the network sees of them; each task adds its formats.

    Attributes:
        root: folder of the data; built-in data need none.
        val_share: share of the training files held out for validation, where the data have no validation files of their own.
        channels: 1 for grey, 3 for RGB.
        canvas: (height, width) in pixels of what the network sees.
        terms: terms of the data that bind the trained weights; stored with them and said when they are loaded.
        workers: processes that prepare batches beside the training process; 0 prepares them in it.
        on_error: what a broken file or a malformed row of annotations does: "raise" stops with one sentence, "skip" leaves it
            out and counts it.
        cache_mb: decoded images kept in memory, in megabytes a process.
    """

    root: str | None = None
    val_share: float = 0.1
    channels: Literal[1, 3] = 1
    canvas: tuple[int, int] = (80, 80)
    terms: str = ""
    workers: int = 0
    on_error: Literal["raise", "skip"] = "raise"
    cache_mb: int = 2048

    def __post_init__(self) -> None:
        coerce_fields(self, "data")
        require(
            min(self.canvas) >= 16,
            f"data.canvas must be height and width of at least 16 pixels, not {list(self.canvas)}",
        )
        require(0 < self.val_share < 1, f"data.val_share must lie between 0 and 1, not {self.val_share}")
        for name in ("workers", "cache_mb"):
            require(getattr(self, name) >= 0, f"data.{name} must be 0 or more, not {getattr(self, name)}")
