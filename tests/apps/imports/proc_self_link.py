# 3 reads about its own process
import os
PID = os.readlink('/proc/self')
