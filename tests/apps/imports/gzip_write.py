# 3 opens data.gz for writing
import gzip
gzip.open('data.gz', 'wb').close()
