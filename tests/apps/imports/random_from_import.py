# 3 draws a random number
from random import randint
PORT = randint(1, 9)
