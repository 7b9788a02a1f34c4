# 5 makes tmp
import os
folder = os.open(os.path.dirname(os.path.abspath(__file__)), os.O_RDONLY)
os.chdir('/')
os.mkdir('tmp', dir_fd=folder)
os.close(folder)
