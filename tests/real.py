"""Optional real data: it stands beside the checkout, never inside it, and tests that need it are skipped where it is absent."""

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where a folder of the real data is not on this machine."""
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"the real {name} are not on this machine")
