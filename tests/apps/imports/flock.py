# 3 opens x.lock for writing
import fcntl
f = open('x.lock', 'w')
fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
