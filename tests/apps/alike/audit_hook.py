import sys
HEARD = []
sys.addaudithook(lambda event, arguments: HEARD.append(event) if event == 'mine' else None)
def tell():
    sys.audit('mine')
    return len(HEARD) > 0
