# 3 opens /proc/self/root/dev/urandom, which gives random numbers
import pathlib
pathlib.Path('/proc/self/root/dev/urandom').open('rb').read(4)
