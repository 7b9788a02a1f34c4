# 6 reads about its own process in /proc
import os
back = os.getcwd()
os.chdir('/proc/self')
try:
    open('stat').read()
finally:
    os.chdir(back)
