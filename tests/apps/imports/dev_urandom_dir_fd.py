# 4 opens urandom, which gives random numbers
import os
folder = os.open('/dev', os.O_RDONLY)
fd = os.open('urandom', os.O_RDONLY, dir_fd=folder)
os.read(fd, 4)
os.close(fd)
os.close(folder)
