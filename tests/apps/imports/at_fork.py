# 3 registers a function for forks
import os
os.register_at_fork(after_in_child=int)
