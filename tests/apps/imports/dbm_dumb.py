# 3 opens 
import dbm.dumb
D = dbm.dumb.open('db')
