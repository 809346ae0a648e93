"""The deliver function: claim, pace, post, settle."""
