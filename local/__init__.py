"""What stands in for other people's services on one machine."""

LOOPBACK = "127.0.0.1"
