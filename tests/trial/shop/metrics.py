"""The metrics: made when the app is imported, as most apps do. With several processes prometheus_client maps a file for each
process that makes one."""

from prometheus_client import Counter, Gauge

ORDERS = Counter("shop_orders", "Orders that were taken.")
BUSY = Gauge("shop_busy", "Requests in progress.", multiprocess_mode="livesum")
BUILD = Gauge("shop_build", "The build.", ["version"], multiprocess_mode="livesum")
BUILD.labels("1").set(1)
