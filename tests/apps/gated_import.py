"""The app of cases.py behind a gate: its import ends when the test says so."""

import gate

gate.hold()

from cases import app  # noqa: E402, F401
