# 3 starts a process
import os
T = os.popen('true').read()
