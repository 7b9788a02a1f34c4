# 3 opens 
import logging
logging.basicConfig(filename='app.log')
