"""`python -m dim_lightning`."""

import sys

if sys.platform == "win32":  # before modules are met that Windows does not have
    sys.stderr.write("dim_lightning runs on Linux and macOS; on Windows, run it within WSL\n")
    sys.exit(2)

from dim_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
