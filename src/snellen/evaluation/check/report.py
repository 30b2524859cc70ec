"""What a check found: `Finding`s, and the numbers beside them."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["CheckReport", "Finding", "Severity"]

Severity = Literal["error", "warning", "note"]

#: Files named with a finding in words; the JSON has all.
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: a word for programs, e.g. "outside".
        severity: "error" must be mended, "warning" should be looked at, "note" is for information.
        sentence: what, and what to do.
        files: the pictures that it is about.
    """

    kind: str
    severity: Severity
    sentence: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        source: the annotation file or folder.
        format: its format.
        root: folder of the images.
        images: number of pictures.
        objects: number of annotated objects.
        labelled: share of the objects in which each point is labelled, by name.
        sizes: pictures of each "width x height", the most frequent first.
        splits: pictures of each split, where the annotations say.
        scale: smallest and largest scale of the objects, millimetres a pixel, where the annotations have one.
        scaled: number of objects with a scale.
        swaps: pairs that exchange in a mirror image, of the annotations or read off the names.
        findings: the most severe first.
    """

    source: str
    format: str
    root: str
    images: int
    objects: int
    labelled: dict[str, float]
    sizes: dict[str, int]
    splits: dict[str, int]
    scale: tuple[float, float] | None
    scaled: int
    swaps: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def must_fix(self) -> bool:
        """Whether something must be mended before training."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "swaps": [list(pair) for pair in self.swaps], "must_fix": self.must_fix}

    def in_words(self) -> str:
        """Lines for a terminal."""
        sizes = ", ".join(f"{size} ({n})" for size, n in list(self.sizes.items())[:3])
        more = f" and {len(self.sizes) - 3} further sizes" if len(self.sizes) > 3 else ""
        lines = [
            f"{self.source}: {self.format}, {self.images:,} images, {self.objects:,} objects of {len(self.labelled)} points",
            f"sizes: {sizes or 'none readable'}{more}",
        ]
        if self.splits:
            lines.append("splits: " + ", ".join(f"{name} {n:,}" for name, n in self.splits.items()))
        if self.scale:
            low, high = self.scale
            span = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            lines.append(f"scale: {span} mm a pixel ({self.scaled:,} of {self.objects:,} objects)")
        rare = {name: share for name, share in self.labelled.items() if share < 1}
        lines.append(
            "labelled: "
            + (", ".join(f"{n} {100 * s:.1f} %" for n, s in rare.items()) if rare else "every point of every object")
        )
        lines.append("swap pairs: " + (", ".join(f"{a} - {b}" for a, b in self.swaps) or "none"))
        for finding in self.findings:
            shown = ", ".join(finding.files[:_SHOWN])
            rest = f" and {len(finding.files) - _SHOWN:,} more" if len(finding.files) > _SHOWN else ""
            lines.append(f"{finding.severity}: {finding.sentence}" + (f" [{shown}{rest}]" if shown else ""))
        lines.append("must be mended before training" if self.must_fix else "ready to train")
        return "\n".join(lines)
