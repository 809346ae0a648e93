"""The Lambda entry points: each decorates, parses, calls one function and maps the result."""
