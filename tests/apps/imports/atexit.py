# 3 registers a function for the exit
import atexit
atexit.register(print, 'bye')
