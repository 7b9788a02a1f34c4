# 3 forks
import os
P = os.fork()
if P == 0: os._exit(0)
os.waitpid(P, 0)
