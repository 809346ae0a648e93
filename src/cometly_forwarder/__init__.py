"""Forwards conversion events to Cometly: everything that runs in Lambda, and nothing else."""

__version__ = "0.1.0"
