import logging, logging.handlers
FILE = logging.FileHandler(HERE + '/log', delay=True)
HANDLER = logging.handlers.MemoryHandler(100, target=FILE)
logging.getLogger('shop').addHandler(HANDLER)
def tell():
    logging.getLogger('shop').warning('asked')
    return len(HANDLER.buffer)
