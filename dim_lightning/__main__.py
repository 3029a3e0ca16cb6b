"""`python -m dim_lightning`."""

import sys

from dim_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
