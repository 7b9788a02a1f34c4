# 4 removes m.py
import os
folder = os.open(os.path.dirname(os.path.abspath(__file__)), os.O_RDONLY)
os.remove('m.py', dir_fd=folder)
os.close(folder)
