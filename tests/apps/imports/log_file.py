# 3 opens app.log for writing
import logging, os
logging.getLogger().addHandler(logging.FileHandler(os.path.join('', 'app.log')))
