# 3 makes a file in memory
import os
F = os.memfd_create('x')
