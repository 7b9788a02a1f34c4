# 4 draws a random number
import random
HOSTS = list(range(9))
random.shuffle(HOSTS)
