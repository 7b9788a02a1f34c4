# 2 reads about its own process
STAT = open('/proc/self/stat').read()
