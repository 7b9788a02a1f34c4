import logging, logging.handlers, socket
SINK = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
SINK.bind(('127.0.0.1', 0))
HANDLER = logging.handlers.DatagramHandler(*SINK.getsockname())
logging.getLogger('shop').addHandler(HANDLER)
logging.getLogger('shop').warning('imported')
def tell():
    SINK.settimeout(5)
    return len(SINK.recv(4096)) > 0
