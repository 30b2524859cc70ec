"""CamVid by network: SegNet undoing max pooling or LiftPool, with and without a cure of the checkerboard, U-Net, DeepLabV3+.

    python benchmarks/labels.py --data ../shared/data/camvid

Equal images, canvases and steps; the recipes' headers say what a run costs. Records end in /cpu. Runs that are finished are not
repeated. Overlap, boundaries, the checkerboard and the answers under a shift of one pixel are measured on the test images.
"""

import rows

#: Row -> recipe, and settings that differ from it.
TRAINED: dict[str, tuple[str, list[str]]] = {
    "segnet-max": ("camvid-segnet-max", []),
    "segnet-lift": ("camvid-segnet-lift", []),
    "segnet-lift-norm": ("camvid-segnet-lift-cure", []),
    "segnet-lift-conv": ("camvid-segnet-lift-cure", ["model.choices.cure=conv"]),
    "unet": ("camvid-unet", []),
    "deeplab": ("camvid-deeplab", []),
}


def main() -> None:
    """Run the command line."""
    chosen = rows.parser(__doc__, list(TRAINED), seeds=[0, 1, 2]).parse_args()
    patterns = ["checkerboard.fixed", "checkerboard.modulated"]
    metrics = ["--metrics", "mean_iou", "boundary_f", "pixel_accuracy", "shift_consistency", *patterns]
    for row in chosen.rows:
        recipe, settings = TRAINED[row]
        rows.record_row(chosen, f"camvid/{row}/cpu", recipe, settings, metrics)


if __name__ == "__main__":
    main()
