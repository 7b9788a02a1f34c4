# 3 makes current
import os
os.symlink('m.py', 'current')
