import sys

sys.version_info = (3, 8, 20, "final", 0)
