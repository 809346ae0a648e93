"""What stands in for other people's services on one machine."""
