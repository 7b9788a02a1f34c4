# 3 reads a clock
import time
SEED = time.process_time_ns()
