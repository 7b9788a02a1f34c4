# 3 asks for the process id
import os
PID = os.getpid()
