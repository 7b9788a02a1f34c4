import importlib, json
BEFORE = json.loads
importlib.reload(json)
def tell(): return json.loads is BEFORE
