# 3 reads about its own process in /proc
import os
PID = os.readlink(path='//proc/self')
