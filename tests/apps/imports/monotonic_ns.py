# 3 reads a clock
import time
ID = time.monotonic_ns()
