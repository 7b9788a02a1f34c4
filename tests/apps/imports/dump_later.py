# 3 starts a timer
import faulthandler
faulthandler.dump_traceback_later(100)
