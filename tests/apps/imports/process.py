# 4 forks
import multiprocessing
P = multiprocessing.get_context('fork').Process(target=int)
P.start(); P.join()
