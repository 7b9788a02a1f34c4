# 3 reads a random generator
import random
STATE = random.getstate()
