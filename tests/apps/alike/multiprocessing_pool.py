import multiprocessing
POOL = multiprocessing.get_context('fork').Pool(1)
def tell(): return POOL.apply(int)
