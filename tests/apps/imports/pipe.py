# 3 makes a pipe
import os
P = os.pipe()
