"""Whether a deployed stack works: each part of it in turn, and one event by each door."""
