import warnings
warnings.filterwarnings('error', category=UserWarning)
def tell():
    try: warnings.warn('mine')
    except UserWarning: return 'raised'
