# 3 draws a random number
import random
random_id = lambda: random.getrandbits(64)
class Meta(type):
    pass
NODE = random_id()
