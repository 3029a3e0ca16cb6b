"""Every test checks the package's shape annotations at run time."""

from jaxtyping import install_import_hook

install_import_hook("dim_lightning", "beartype.beartype")
