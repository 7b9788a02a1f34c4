# boring
from concurrent.futures import ThreadPoolExecutor
P = ThreadPoolExecutor(1)
