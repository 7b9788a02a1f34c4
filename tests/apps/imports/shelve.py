# 3 opens 
import shelve
S = shelve.open('data')
