# boring
import logging, sys
logging.basicConfig(stream=sys.stderr)
logging.getLogger(__name__).info('hello')
