"""A shop: a Django app with what such an app usually has around it."""
