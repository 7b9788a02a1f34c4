# 6 draws a random number
import random
class Own(random.Random):
    def __init__(self):
        pass
NUMBER = Own().random()
