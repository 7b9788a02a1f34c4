# boring
import datetime, time
STARTED = time.time()
NOW = datetime.datetime.now()
TICK = time.monotonic()
