# 3 reads a clock in nanoseconds
import time
STARTED = time.thread_time_ns()
