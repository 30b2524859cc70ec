"""Blur of the zoomed picture in early training, so that the sampler has a reason to zoom in."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BlurCurriculum"]


class BlurCurriculum(nn.Module):
    """Blurs what the task network sees during the first steps of a training (zoom.md 2.1, step 12, and 3).

    A picture is averaged to a random smaller size and enlarged again: detail that is too small on it is lost, so the loss falls
    where the sampler magnifies. How this differs: sizes are shares of the picture's, one draw a step, from a generator of its
    own that depends on the seed and the step alone, so that a resumed training draws the same.

    Args:
        steps: training steps with blur; 0 for none.
        smallest: the smallest size, as a share of the picture's (the paper's code: 64 of 224).
        seed: of the draws.

    Attributes:
        step: steps done, kept with the weights.

    Raises:
        ValueError: for values not possible.

    >>> blur = BlurCurriculum(10)
    >>> x = torch.rand(1, 3, 32, 32)
    >>> bool(blur(x).std() < x.std()), torch.equal(blur.eval()(x), x)
    (True, True)
    """

    step: Tensor

    def __init__(self, steps: int, smallest: float = 64 / 224, seed: int = 0) -> None:
        super().__init__()
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ValueError(f"blur_steps={steps!r} is not possible; give the number of steps with blur, 0 for none")
        if not 0 < smallest <= 1:
            raise ValueError(
                f"smallest={smallest} is not possible; give a share of the picture's size above 0, up to 1"
            )
        self.steps, self.smallest, self.seed = steps, smallest, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, picture: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The picture, blurred in training until `steps` have been done."""
        if not self.training or not self.steps:
            return picture
        step = int(self.step)
        self.step += 1
        if step >= self.steps:
            return picture
        draw = torch.rand((), generator=torch.Generator().manual_seed(self.seed * 1_000_003 + step)).item()
        share = self.smallest + (1 - self.smallest) * draw
        h, w = picture.shape[-2:]
        small = F.adaptive_avg_pool2d(picture, (max(1, round(share * h)), max(1, round(share * w))))
        return F.interpolate(small, (h, w), mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"steps={self.steps}, smallest={self.smallest:.3g}, seed={self.seed}"
