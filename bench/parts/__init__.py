"""The parts of the bench. Each module has one function, `measure`, that returns a `Result`."""
