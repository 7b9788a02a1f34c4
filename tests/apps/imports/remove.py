# 3 removes m.py
import os
os.remove('m.py')
