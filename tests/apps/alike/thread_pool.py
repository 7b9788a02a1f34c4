import concurrent.futures
POOL = concurrent.futures.ThreadPoolExecutor(1)
POOL.submit(int).result()
def tell(): return POOL.submit(int).result(10)
