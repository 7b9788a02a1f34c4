# 4 starts a thread
from concurrent.futures import ThreadPoolExecutor
P = ThreadPoolExecutor(1)
P.submit(int).result()
