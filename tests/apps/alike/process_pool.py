import concurrent.futures, multiprocessing
POOL = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork'))
POOL.submit(int).result()
def tell(): return POOL.submit(int).result(10)
