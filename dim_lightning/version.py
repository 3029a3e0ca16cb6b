"""Which version this is."""

from importlib import metadata


def version() -> str:
    """That of the installed package; "unknown" where it is run from its folder."""
    try:
        return metadata.version("dim-lightning")
    except metadata.PackageNotFoundError:
        return "unknown"
