"""`doctor`: whether this machine can train, and what to do where it cannot."""

from dim_lightning.cli.doctor.command import doctor

__all__ = ["doctor"]
