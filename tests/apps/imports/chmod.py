# 3 changes m.py
import os
os.chmod('m.py', 0o644)
