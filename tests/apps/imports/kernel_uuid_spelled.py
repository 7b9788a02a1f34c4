# 2 opens /proc/sys/./kernel/random/uuid, which gives random numbers
NAME = open('/proc/sys/./kernel/random/uuid').read()
