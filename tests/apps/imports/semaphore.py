# 3 makes a semaphore
import multiprocessing
L = multiprocessing.Lock()
