# 3 
import multiprocessing
V = multiprocessing.Value('i', 0)
