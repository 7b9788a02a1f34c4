# boring
import os, sys
DEBUG = os.environ.get('DEBUG')
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')
sys.path.insert(0, os.path.dirname(__file__))
