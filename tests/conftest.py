"""Every test checks the package's shape annotations at run time."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

# The tests' networks are too small to share: one thread each, a worker process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook("dim_lightning", "beartype.beartype")

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")
