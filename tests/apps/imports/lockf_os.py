# 4 locks a file
import os
f = os.open('m.py', os.O_RDWR)
os.lockf(f, os.F_TLOCK, 1)
