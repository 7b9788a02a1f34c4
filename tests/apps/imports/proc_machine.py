# boring
import os
LOAD = open('/proc/loadavg').read()
MOUNTS = open('/proc/mounts').read()
GROUP = open('/proc/thread-self/cgroup').read()
PYTHON = os.readlink('/proc/self/exe')
os.listdir('/proc')
