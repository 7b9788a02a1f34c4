import gc
CALLS = []
gc.disable()
gc.set_threshold(5000, 20, 50)
gc.callbacks.append(lambda *arguments: CALLS.append(1))
def tell():
    before = len(CALLS)
    gc.collect()
    return gc.isenabled(), gc.get_threshold(), len(CALLS) - before
