"""What lies on the dead-letter queue: looked at, sent again, or thrown away."""
