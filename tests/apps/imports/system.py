# 3 starts a process
import os
os.system('true')
