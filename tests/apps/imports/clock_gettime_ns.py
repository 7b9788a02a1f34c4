# 3 reads a clock
import time
ID = time.clock_gettime_ns(time.CLOCK_REALTIME)
