# 4 draws random bytes
import os
class Node:
    ID = os.urandom(4)
