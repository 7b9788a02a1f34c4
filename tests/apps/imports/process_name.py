# 3 asks for the process id
import multiprocessing
P = multiprocessing.current_process().pid
