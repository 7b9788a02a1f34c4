# 4 opens hooks.log for writing
import gzip, zipfile
import logging.handlers
H = logging.handlers.WatchedFileHandler('hooks.log')
