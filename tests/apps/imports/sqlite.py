# 3 opens a database
import sqlite3
D = sqlite3.connect('db')
