import mimetypes
mimetypes.init()
mimetypes.add_type('application/x-mine', '.mine')
def tell(): return mimetypes.guess_type('a.mine')
