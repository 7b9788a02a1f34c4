import multiprocessing
multiprocessing.set_start_method('spawn')
def tell(): return multiprocessing.get_start_method()
