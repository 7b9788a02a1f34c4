# 3 asks for the parent
import os
PID = os.getppid()
