"""The Python side of rcorn for places where no server runs: see `rcorn.function`."""
