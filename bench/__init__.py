"""Measurements: what takes minutes, and what compares."""
