# boring
CONTAINER = open('/proc/self/cgroup').read()
