# 5 opens 
import logging.config
C = dict(version=1, root=dict(handlers=['f']), handlers=dict(
    f={'class': 'logging.handlers.RotatingFileHandler', 'filename': 'app.log'}))
logging.config.dictConfig(C)
