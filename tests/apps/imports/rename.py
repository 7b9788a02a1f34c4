# 3 renames m.py
import os
os.rename('m.py', 'n.py')
