# 4 seeds a random generator
import random
class Own(random.Random): pass
R = Own()
