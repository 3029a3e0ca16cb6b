"""Which versions are installed, of this package and others."""

from importlib import metadata


def version() -> str:
    """That of this package; "unknown" where it is run from its folder."""
    return version_of("dim-lightning") or "unknown"


def version_of(package: str) -> str | None:
    """That of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
