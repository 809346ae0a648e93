"""What an event is, for both functions: its fields, its identity, its envelope on the queue."""
