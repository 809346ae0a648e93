"""Programs for whoever operates a stack in an AWS account."""
