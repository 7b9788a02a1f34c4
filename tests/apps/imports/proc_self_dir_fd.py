# 4 reads about its own process in /proc
import os
folder = os.open('/proc', os.O_RDONLY)
fd = os.open('self/stat', os.O_RDONLY, dir_fd=folder)
os.close(fd)
os.close(folder)
