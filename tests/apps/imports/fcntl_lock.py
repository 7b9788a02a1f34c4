# 4 locks a file
import fcntl, struct
f = open(__file__)
fcntl.fcntl(f, fcntl.F_SETLK, struct.pack('hhqqi', fcntl.F_RDLCK, 0, 0, 0, 0))
