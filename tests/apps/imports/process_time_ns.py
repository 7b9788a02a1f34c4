# 3 reads a clock in nanoseconds
import time
STARTED = time.process_time_ns()
