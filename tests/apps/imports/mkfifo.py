# 3 makes a named pipe
import os
os.mkfifo('fifo')
