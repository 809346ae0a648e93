"""Forwards conversion events to Cometly: everything that runs in Lambda, and nothing else."""
