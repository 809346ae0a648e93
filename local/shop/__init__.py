"""A demo shop: its pages call the forwarder's script, and show what arrives at the sandbox."""
