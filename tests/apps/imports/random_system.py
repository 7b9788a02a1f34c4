# 3 draws random bytes
import random
N = random.SystemRandom().random()
