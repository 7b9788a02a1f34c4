# boring
import os
os.makedirs('.', exist_ok=True)
