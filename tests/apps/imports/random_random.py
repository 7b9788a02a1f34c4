# 3 draws a random number
import random
MACHINE = random.random()
