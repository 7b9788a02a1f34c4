# 6 draws a random number
import random
class Own(random.Random):
    def seed(self, *given):
        pass
NUMBER = Own().getrandbits(32)
