"""Sending a file of events to a stack, in arrays, so that a run can be broken off and repeated."""
