import multiprocessing
MANAGER = multiprocessing.Manager()
SHARED = MANAGER.dict(count=0)
def tell():
    SHARED['count'] += 1
    return SHARED['count']
