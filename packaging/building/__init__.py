"""Builds the wheel, the sdist and the Debian package. Needs cargo and Python's standard library.

maturin could build the wheel, but inspects the executable only. It would miss the glibc that the embedded native module
requires, and could tag the wheel for machines where it fails.
"""
