"""rcorn without its server: CGI programs and functions of function services. See `rcorn.function`."""
