"""Draw the README's picture: held-out wings with the points that a run found on them.

python benchmarks/readme_picture.py runs/wings-rcn-seed0 docs/wings.jpg
"""

import sys
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from snellen.data import Wings
from snellen.inference import load_localiser

#: Taken in order from the test seed, the first eight: no choice by result.
SHOWN = range(8)


def main() -> None:
    """Run the command line."""
    run, out = sys.argv[1:3]
    model = load_localiser(run)
    wings = Wings(max(SHOWN) + 1, seed=3)
    figure = Figure(figsize=(10.24, 3.84), dpi=150)
    FigureCanvasAgg(figure)
    for place, index in enumerate(SHOWN):
        sample = wings[index]
        found = model.predict(sample.image)[0]
        axes = figure.add_axes((place % 4 / 4, 0.5 - place // 4 / 2, 0.25, 0.5))
        axes.imshow(sample.image.permute(1, 2, 0).numpy(), extent=(0, 256, 192, 0), interpolation="bicubic")
        for a, b in found.schema.edges:
            axes.plot(*found.xy[[a, b]].T, color="#0072b2", linewidth=0.7, alpha=0.7)
        axes.scatter(
            found.xy[:, 0], found.xy[:, 1], s=16, facecolor="#e69f00", edgecolor="white", linewidth=0.6, zorder=3
        )
        axes.set(xlim=(0, 256), ylim=(192, 0))
        axes.axis("off")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    picture = Image.fromarray(np.asarray(Image.open(buffer).convert("RGB")))
    picture.save(out, quality=88, optimize=True)


if __name__ == "__main__":
    main()
