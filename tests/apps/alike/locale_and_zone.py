import locale, os, time
os.environ['TZ'] = 'Asia/Tokyo'
time.tzset()
locale.setlocale(locale.LC_ALL, 'C')
def tell(): return time.tzname, locale.setlocale(locale.LC_ALL)
