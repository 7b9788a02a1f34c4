# 3 reads a clock
import time
ID = time.time_ns()
