# registers a function for the exit
import atexit
@atexit.register
def bye(): pass
