import logging, logging.handlers, queue
QUEUE = queue.Queue()
LISTENER = logging.handlers.QueueListener(QUEUE, logging.NullHandler())
LISTENER.start()
logging.getLogger('shop').addHandler(logging.handlers.QueueHandler(QUEUE))
def tell():
    logging.getLogger('shop').warning('asked')
    return LISTENER._thread.is_alive()
