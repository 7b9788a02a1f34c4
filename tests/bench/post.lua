-- 64 KiB in each request.
wrk.method = "POST"
wrk.body = string.rep("a", 65536)
