# 4 locks a file
import fcntl
f = open(__file__)
fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
