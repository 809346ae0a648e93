"""A stand-in for Cometly's API that runs on one machine, in memory."""
