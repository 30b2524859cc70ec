"""The version that is written into files."""

from importlib import metadata

__all__ = ["library_version"]


def library_version() -> str:
    """Version of the installed package; "unknown" where it is only on the path."""
    try:
        return metadata.version("snellen")
    except metadata.PackageNotFoundError:
        return "unknown"
