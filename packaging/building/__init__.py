"""Makes what people install: the wheel, the sdist, the Debian package. Needs cargo, and Python's own library alone.

maturin could make the wheel, but looks at the executable only: the native module that lies in it, with its own wants
of the C library, would go unseen, and the wheel could be tagged for machines where it fails.
"""
