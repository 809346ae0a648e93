"""A rate limiter and circuit breaker that all workers share, kept in one item of the table."""
