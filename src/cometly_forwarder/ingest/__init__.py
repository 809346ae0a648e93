"""The ingest function: authenticate, validate, queue."""
