# 4 opens random, which gives random numbers
import os
folder = os.open('/dev', os.O_RDONLY)
os.close(os.open(path=b'random', flags=os.O_RDONLY, dir_fd=folder))
os.close(folder)
