# 4 opens made for writing
import os
folder = os.open(os.path.dirname(os.path.abspath(__file__)), os.O_RDONLY)
os.close(os.open('made', os.O_WRONLY | os.O_CREAT, dir_fd=folder))
os.close(folder)
