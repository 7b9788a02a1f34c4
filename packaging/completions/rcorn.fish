# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rcorn_global_optspecs
    string join \n h/help v/version generate= c/config= check-config print-config chdir= pythonpath= e/env= python= preload no-preload reload reload-engine= reload-extra-file= b/bind= backlog= reuse-port protocol= w/workers= k/worker-class= threads= queue-timeout= switch-interval= max-requests= max-requests-jitter= max-worker-memory= max-worker-age= spare-workers= refork= retire-old-first= t/timeout= abort-timeout= survive-timeout slow-request= boot-timeout= graceful-timeout= reload-watch= reload-probe= drain-mode= drain-delay= keep-alive= max-keepalive-requests= server-header= header-timeout= body-timeout= write-timeout= worker-connections= request-buffer= response-buffer= limit-request-line= limit-request-fields= limit-request-field_size= no-require-host permit-obsolete-folding permit-unconventional-http-method permit-unconventional-http-version casefold-http-method header-map= no-sendfile forwarded-allow-ips= forwarder-headers= secure-scheme-headers= uwsgi-allow-from= proxy-protocol= proxy-allow-from= certfile= keyfile= certificate= ocsp-staple= ca-certs= cert-reqs= ssl-version= ciphers= no-http2 h2c http2-max-concurrent-streams= http2-initial-window-size= http2-max-header-list-size= redirect-https acme-directory= hsts= compress= compress-types= compress-min-size= compress-level= fronts= static= static-cache-control= static-index= static-fallthrough p/pid= D/daemon control-socket= control-socket-mode= no-control-socket upgrade= m/umask= u/user= g/group= initgroups n/name= error-logfile= access-logfile= access-logformat= log-level= log-format= request-id= log-config= log-config-json= capture-output log-syslog log-syslog-to= log-syslog-prefix= log-syslog-facility= disable-redirect-access-to-syslog statsd-host= statsd-prefix= dogstatsd-tags= status-bind= status-allow= status-hosts= health-path=
end

function __fish_rcorn_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rcorn_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rcorn_using_subcommand
    set -l cmd (__fish_rcorn_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rcorn -n "__fish_rcorn_needs_command" -l generate -d 'Print a page generated from the settings table and exit: man, settings-man, signals-man, reference, template, bash, zsh or fish.' -r -f -a "man\t''
settings-man\t''
signals-man\t''
reference\t''
template\t''
bash\t''
zsh\t''
fish\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s c -l config -d 'Read settings from this file: a YAML file, or a gunicorn.conf.py.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l chdir -d 'Change to this directory first. Modules are looked for in it before anywhere else. The default is the directory in which rcorn was started.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_needs_command" -l pythonpath -d 'Directories in which to look for modules, after chdir and before all others.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_needs_command" -s e -l env -d 'Set an environment variable for the app. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l python -d 'The Python that runs the app. The default is that of the virtual environment in which rcorn is installed, else that of the active virtual environment, else python3 from PATH.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-engine -d 'How reload notices changes. inotify is told by the kernel; poll checks all files once a second, for network file systems. auto uses inotify wherever it works. [one of: auto, inotify, poll] [default: auto]' -r -f -a "auto\t''
inotify\t''
poll\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-extra-file -d 'Another file for reload to watch. It is a path, a pattern such as templates/**/*.html, or a directory with everything in it, and need not exist yet. May be repeated.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -s b -l bind -d 'Listen on HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd://N. May be repeated. With uwsgi:// in front, as in uwsgi://HOST:PORT or uwsgi://unix:PATH, the address speaks the uwsgi protocol; with https://, as in https://:443, TLS (certfile). With PORT in the environment the default is 0.0.0.0:PORT. [env: PORT] [default: 127.0.0.1:8000]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l backlog -d 'How many connections may wait to be accepted (listen(2)). [default: 2048]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l protocol -d 'The protocol of addresses in bind without uwsgi://. uwsgi is what nginx\'s uwsgi_pass speaks. [one of: http, uwsgi] [default: http]' -r -f -a "http\t''
uwsgi\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s w -l workers -d 'The number of workers, at least one. [env: WEB_CONCURRENCY] [default: 1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s k -l worker-class -d 'The kind of workers: sync, or gthread for workers with threads. [default: sync]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l threads -d 'The number of threads in which a worker runs requests. [default: 1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l queue-timeout -d 'How long a request may wait for a free thread; 0 disables the limit. One that waits longer is answered with status 503 and Retry-After. Of no effect while threads is 1. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l switch-interval -d 'How long a thread may run Python while others wait to. 0 leaves Python\'s own value, 5 milliseconds (sys.setswitchinterval). Of no effect while threads is 1. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-requests -d 'Replace a worker after this many requests; 0 disables the limit. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-requests-jitter -d 'Add a random number, 0 to this, to the max_requests of each worker. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-worker-memory -d 'Replace a worker whose resident memory exceeds this; 0 disables the limit. It is checked after requests, at most once a second. Bodies on their way to a front do not count. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-worker-age -d 'Replace a worker after it has run this long; 0 disables the limit. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l spare-workers -d 'Keep this many imported workers ready that serve nobody until one is missing. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l refork -d 'Make a worker the template after this many requests; 0 never does. The other workers are replaced by forks of it. rcorn ctl refork does it at once. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l retire-old-first -d 'Whether a worker that is to be replaced leaves before its replacement is ready. [one of: auto, fallback, always, never] [default: auto]' -r -f -a "auto\t''
fallback\t''
always\t''
never\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s t -l timeout -d 'Kill a worker that takes longer than this for a request; 0 disables the limit. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l abort-timeout -d 'How long the app may take to end a request that exceeds timeout. [default: 3]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l slow-request -d 'Log where a request is, in Python, once it has taken this long; 0 disables it. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l boot-timeout -d 'Kill a worker that is not ready after this time; 0 disables the limit. [default: 60]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l graceful-timeout -d 'How long workers may take to finish their requests when they leave. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-watch -d 'Undo a reload if new workers die within this time after it. [default: 5]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-probe -d 'Request this path from a reload\'s first worker before it replaces another. A status of 400 or above undoes the reload.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l drain-mode -d 'What a stop does with connections that wait to be accepted. queue serves them, immediate does not, delay keeps accepting for drain_delay and then serves them. [one of: queue, immediate, delay] [default: queue]' -r -f -a "queue\t''
immediate\t''
delay\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l drain-delay -d 'How long to keep accepting before a stop, so that load balancers notice. 0 stands for 5 seconds with the drain_mode delay, and for no delay with the others. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l keep-alive -d 'Keep an idle connection open this long; 0 closes it after each response. [default: 75]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-keepalive-requests -d 'Close a connection after this many requests; 0 disables the limit. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l server-header -d 'The Server field of responses; off sends none. [default: rcorn]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l header-timeout -d 'How long a client may take to send the head of a request; 0 disables the limit. [default: 20]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l body-timeout -d 'The longest pause while a client sends a body; 0 disables the limit. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l write-timeout -d 'The longest pause while a client receives a response; 0 disables the limit. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l worker-connections -d 'The most connections of one worker, most of them idle. Beyond it the worker closes the connection that has been idle longest; if none is idle, one whose request is still incomplete. [default: 1000]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l request-buffer -d 'Receive a body up to this size before the app is called. Of a larger body this much is received first and the rest while the app reads it. [default: 1MiB]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l response-buffer -d 'Send a response up to this size in the background. A larger one occupies the worker until no more than this is left. A file (wsgi.file_wrapper) never occupies it. With TLS, a body of up to this size, at most 8 MiB, is in memory that the worker shares with the front. [default: 1MiB]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-line -d 'The longest request line, at most 8190; 0 means 1 MiB. [default: 4094]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-fields -d 'The most header fields in a request, at most 32768; 0 means 32768. [default: 100]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-field_size -l limit-request-field-size -d 'The longest header field, with name, colon, value and line end; 0 means 8190. [default: 8190]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l header-map -d 'What to do with header fields whose names contain an underscore. drop hides them from the app, refuse refuses the request, dangerous passes them on. [one of: drop, refuse, dangerous] [default: drop]' -r -f -a "drop\t''
refuse\t''
dangerous\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l forwarded-allow-ips -d 'The proxies to trust: addresses, networks, or * for all. Unix sockets are always trusted. [env: FORWARDED_ALLOW_IPS] [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l forwarder-headers -d 'Header fields with an underscore to accept from trusted proxies. [default: SCRIPT_NAME,PATH_INFO]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l secure-scheme-headers -d 'Header fields by which a trusted proxy says that the client used HTTPS. [default: X-FORWARDED-PROTOCOL=ssl,X-FORWARDED-PROTO=https,X-FORWARDED-SSL=on]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l uwsgi-allow-from -d 'The peers that may speak uwsgi: addresses, networks, or * for all. Unix sockets always may. [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l proxy-protocol -d 'Take the client\'s address from a PROXY header: v1, v2, or (auto) either. The flag without a value means auto. [one of: off, v1, v2, auto] [default: off]' -r -f -a "off\t''
v1\t''
v2\t''
auto\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l proxy-allow-from -d 'The peers that may send a PROXY header. Addresses, networks, or * for all; unix sockets always may. [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l certfile -d 'Speak TLS with this certificate, a PEM file.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l keyfile -d 'The private key of certfile, a PEM file without a passphrase. The default is certfile, which may have both.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l certificate -d 'Another certificate and its key, for other names. May be repeated: --certificate blog.pem=blog.key.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l ocsp-staple -d 'A file with the OCSP response of certfile, in DER, to send along. It is read again when it changes.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l ca-certs -d 'The authorities that client certificates must come from, a PEM file.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l cert-reqs -d 'Whether clients must have a certificate of ca_certs: none, optional, required. [one of: none, optional, required] [default: none]' -r -f -a "none\t''
optional\t''
required\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l ssl-version -d 'The versions of TLS: TLS for 1.2 and 1.3, TLSv1_2 or TLSv1_3 for one alone. Older ones are refused. [one of: TLS, TLSv1_2, TLSv1_3] [default: TLS]' -r -f -a "TLS\t''
TLSv1_2\t''
TLSv1_3\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l ciphers -d 'The cipher suites, best first, with colons between them.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l http2-max-concurrent-streams -d 'The most requests that an HTTP/2 connection may have at a time. [default: 100]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l http2-initial-window-size -d 'The bytes of a body that an HTTP/2 client may send ahead (RFC 9113). [default: 65535]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l http2-max-header-list-size -d 'The most bytes that the header fields of an HTTP/2 request may take. [default: 65536]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l acme-directory -d 'Answer /.well-known/acme-challenge/ with files of this directory. It needs redirect_https, and is for certbot certonly --webroot, whose directory it is.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_needs_command" -l hsts -d 'Tell clients to come by TLS only, for this many seconds.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l compress -d 'Compress responses with the first of these encodings that the client takes. [default: off]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l compress-types -d 'The media types of responses to compress, such as application/json or text/*. [default: text/*,application/json,application/javascript,application/xml,image/svg+xml]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l compress-min-size -d 'Do not compress a response that is smaller than this, if its length is known. [default: 1KiB]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l compress-level -d 'How much to compress: from 1, which is fast, to 9, which is small. [default: 5]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l fronts -d 'The number of processes that speak TLS. Each uses all CPUs; one is enough for most sites. [default: 1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l static -d 'Answer requests below a path with files of a directory. May be repeated: --static /static=/srv/shop/static --static /media=/srv/media.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l static-cache-control -d 'The Cache-Control of static files whose path matches a pattern. May be repeated: --static-cache-control \'/static/img/*=max-age=3600\'.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l static-index -d 'Answer a request for a directory with the file of this name in it. By default it gets 404.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s p -l pid -d 'Write the arbiter\'s pid to this file.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l control-socket -d 'The socket by which rcorn ctl reaches this instance. The default is named after the pid, in $XDG_RUNTIME_DIR/rcorn, /run/rcorn or /tmp/rcorn-UID. A second rcorn (USR2) appends .2 to PATH until the first has ended.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l control-socket-mode -d 'The permissions of the control socket. Whatever they are, only root and rcorn\'s own user are answered. [default: 0o600]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l upgrade -d 'What USR2 does. beside starts a second rcorn on the same sockets, as gunicorn does; in-place replaces this process with the new build, under the same pid. [one of: beside, in-place] [default: beside]' -r -f -a "beside\t''
in-place\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s m -l umask -d 'The file mode creation mask (umask(2)); octal with a leading zero. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s u -l user -d 'Run the workers as this user, given by name or number.' -r -f -a "(__fish_complete_users)"
complete -c rcorn -n "__fish_rcorn_needs_command" -s g -l group -d 'Run the workers as this group, given by name or number.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s n -l name -d 'The name in the process titles. The default is the name of the app.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l error-logfile -l log-file -d 'Write the error log to this file; - is standard error. [default: -]' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l access-logfile -d 'Write the access log to this file; - is standard output. By default there is none.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l access-logformat -d 'The format of a line in the access log, in gunicorn\'s syntax, or json. [default: %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-level -d 'The least severe level that is written to the error log. [one of: debug, info, warning, error, critical] [default: info]' -r -f -a "debug\t''
info\t''
warning\t''
error\t''
critical\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-format -d 'The form of the error log: gunicorn or json. [one of: gunicorn, json] [default: gunicorn]' -r -f -a "gunicorn\t''
json\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l request-id -d 'Give each request an id, on or off. The flag without a value means on. [one of: off, on] [default: off]' -r -f -a "off\t''
on\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-config -d 'Configure Python\'s loggers from this file, before the app is imported. It is read by logging.config.fileConfig.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-config-json -d 'Configure Python\'s loggers from this JSON file. It is passed to logging.config.dictConfig.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-syslog-to -d 'The syslog server: udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH. A socket file takes datagrams, or else a stream; #dgram after the path allows datagrams only. [default: udp://localhost:514]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-syslog-prefix -d 'The name in messages to syslog, after gunicorn.. The default is the name of the processes.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-syslog-facility -d 'The facility of messages to syslog, such as daemon or local0. [one of: kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0, local1, local2, local3, local4, local5, local6, local7] [default: user]' -r -f -a "kern\t''
user\t''
mail\t''
daemon\t''
auth\t''
syslog\t''
lpr\t''
news\t''
uucp\t''
cron\t''
authpriv\t''
ftp\t''
local0\t''
local1\t''
local2\t''
local3\t''
local4\t''
local5\t''
local6\t''
local7\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l statsd-host -d 'Send metrics to the statsd server at HOST:PORT or unix://PATH. Their names are gunicorn\'s.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l statsd-prefix -d 'The beginning of the names of metrics; a dot is added.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l dogstatsd-tags -d 'Tags for each metric, such as env:prod,service:shop. Only servers of Datadog and some others understand them.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l status-bind -d 'Answer metrics, health checks and the status at this address. An IP address and a port, or a unix socket (with the permissions of control_socket_mode).' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l status-allow -d 'The peers that may ask at status_bind, beside this machine. Addresses, networks, or * for all.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l status-hosts -d 'Names by which status_bind may be asked for. IP addresses, localhost, the name of this machine and names without a dot always may: a web page of a stranger cannot have them.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l health-path -d 'Answer health checks of this path on the addresses of the app, before the app. 200 while this worker serves, 503 once a stop has begun, drain_delay among it.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s h -l help -d 'Print this text and exit.'
complete -c rcorn -n "__fish_rcorn_needs_command" -s v -l version -d 'Print the version and exit; with --verbose also the build, and the Python that would run the app.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l check-config -d 'Check the settings, import the app, and exit. The exit status is 0 if both succeed.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l print-config -d 'Print the settings, check them as --check-config does, and exit.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l preload -d 'Import the app once and fork the workers from it, which saves memory and time. By default this is done if nobody can tell it from an import in each worker: the import is watched, and the log names what speaks against it. With --no-preload each worker imports the app itself.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-preload -d 'The opposite of --preload.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload -d 'Reload whenever one of the app\'s Python files changes. For development: an app that cannot be imported answers with its traceback until the next change.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l reuse-port -d 'Bind with SO_REUSEPORT, so that other processes may bind the same address. The workers share one listening socket all the same.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l survive-timeout -d 'Let a worker with threads serve on after a request that exceeded timeout.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-require-host -d 'Refuse HTTP/1.1 requests without a Host field. --no-require-host accepts them.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-obsolete-folding -d 'Accept header fields that continue on the next line (RFC 9112, section 5.2).'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-unconventional-http-method -d 'Accept unusual methods: in lower case, with #, or not of 3 to 20 characters.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-unconventional-http-version -d 'Accept versions other than HTTP/1.0 and HTTP/1.1.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l casefold-http-method -d 'Convert methods to upper case.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-sendfile -d 'Send files with sendfile(2); --no-sendfile copies them instead. [env: SENDFILE]'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-http2 -d 'Speak HTTP/2 with clients that ask for it (ALPN). --no-http2 speaks HTTP/1.1 only.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l h2c -d 'Speak HTTP/2 without TLS as well, with clients that begin with it.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l redirect-https -d 'Redirect from the addresses without TLS to that with TLS, with status 308.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l static-fallthrough -d 'Let the app answer requests for static files that do not exist.'
complete -c rcorn -n "__fish_rcorn_needs_command" -s D -l daemon -d 'Go into the background once the addresses are bound. Not needed under systemd or supervisor.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-control-socket -d 'Open no control socket.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l initgroups -d 'Join the user\'s supplementary groups, too.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l capture-output -d 'Write what the app prints to the error log.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-syslog -d 'Send error log and access log to syslog, too. The access log is sent even without accesslog.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l disable-redirect-access-to-syslog -d 'Keep the access log out of syslog.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "ctl" -d 'Shows or controls a running instance of rcorn.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "top" -d 'Shows what running instances of rcorn do, and keeps showing it.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "migrate" -d 'Translates a uwsgi.ini or a gunicorn.conf.py into a rcorn.yaml, on standard output.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "cgi" -d 'Answers one CGI request (RFC 3875), given in the environment and on standard input, and exits. A web server starts it for each request, from a script such as    #!/bin/sh   exec rcorn cgi --chdir /srv/shop shop.wsgi:app  Options must precede APP_MODULE. Words after it are ignored, because web servers append words of the query there (RFC 3875, section 4.4). What the app prints goes to standard error.  The exit status is 0 if a complete response was written (even one with status 500, because the app raised an exception), 1 if the response was cut off, and 3 or 4 if the app cannot be loaded; the client then gets a 500.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "invoke" -d 'Passes the request in an API-gateway event to the app and prints the response object: statusCode, headers, multiValueHeaders or cookies as the gateway expects them, body, isBase64Encoded. The kinds of event are recognised by their contents: AWS REST APIs, HTTP APIs, function URLs and load balancers, and JD Cloud\'s API gateway.  The app finds the event in environ[\'function.event\'] and the context in environ[\'function.context\']. What it prints goes to standard error, as does the traceback of an exception; the response then has status 500.  The exit status is 0 if a response was printed, 1 if the event cannot be used, and 3 or 4 if the app cannot be loaded.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "pack" -d 'Writes a zip with everything that a function service needs to serve the app with a plain Python 3.9 or later: the app\'s directory, its requirements, and an entry point, index.handler. The same files always give the same zip.  The app\'s directory is --chdir, or the current directory. Hidden files, caches, node_modules and virtual environments are left out.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "status" -d 'Show the workers, what they are doing, and the last reload.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "stack" -d 'Show all Python stacks of a worker or template.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "slow" -d 'Show the last requests that took longer than slow_request, with their Python stacks.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "reload" -d 'Reload settings and code, as HUP does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "upgrade" -d 'Upgrade to the build that is installed now, as USR2 does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "scale" -d 'Change the number of workers: N, +N or -N.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "retire" -d 'Replace a worker.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "refork" -d 'Make the worker that has served most the template, and replace the others by forks of it.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "reopen" -d 'Reopen the log files, as USR1 does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status stack slow reload upgrade scale retire refork reopen stop" -f -a "stop" -d 'Stop, as TERM does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s c -l check -d 'Exit with 1 unless a worker is serving. For health checks.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from slow" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from slow" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from slow" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s w -l wait -d 'Wait until the reload is over. Exit with 0 if the new code serves, with 1 if the old code still does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from refork" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from refork" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from refork" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -s s -l socket -d 'The control socket of the instance. Needed if several instances are running.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -s p -l pid -d 'The pid of the instance, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -l quick -d 'Stop immediately, as INT does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -l json -d 'Print the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand top" -s s -l socket -d 'The control socket of an instance. May be given several times. Without it and --pid: all instances of this user.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand top" -s p -l pid -d 'The pid of an instance. May be given several times.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand top" -s d -l delay -d 'The time between two looks, in seconds, from 0.1 to 3600.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand cgi" -l chdir -d 'Change to this directory first. Modules are looked for in it before anywhere else. The default is the directory in which rcorn was started.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand cgi" -l pythonpath -d 'Directories in which to look for modules, after chdir and before all others.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand cgi" -l python -d 'The Python that runs the app. The default is that of the virtual environment in which rcorn is installed, else that of the active virtual environment, else python3 from PATH.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand cgi" -s e -l env -d 'Set an environment variable for the app. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_using_subcommand cgi" -s c -l config -d 'Read settings from this file: a YAML file, or a gunicorn.conf.py.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -l chdir -d 'Change to this directory first. Modules are looked for in it before anywhere else. The default is the directory in which rcorn was started.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -l pythonpath -d 'Directories in which to look for modules, after chdir and before all others.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -l python -d 'The Python that runs the app. The default is that of the virtual environment in which rcorn is installed, else that of the active virtual environment, else python3 from PATH.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -s e -l env -d 'Set an environment variable for the app. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -s c -l config -d 'Read settings from this file: a YAML file, or a gunicorn.conf.py.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -l event -d 'The event, a JSON file; - is standard input.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand invoke" -l context -d 'The context, a JSON file; its values become items and attributes.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l chdir -d 'Change to this directory first. Modules are looked for in it before anywhere else. The default is the directory in which rcorn was started.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l pythonpath -d 'Directories in which to look for modules, after chdir and before all others.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l python -d 'The Python that runs the app. The default is that of the virtual environment in which rcorn is installed, else that of the active virtual environment, else python3 from PATH.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -s e -l env -d 'Set an environment variable for the app. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -s c -l config -d 'Read settings from this file: a YAML file, or a gunicorn.conf.py.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -s o -l output -d 'The zip to write.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -s r -l requirements -d 'Install the packages that this file lists into the bundle, with pip.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l include -d 'Include this file or directory, even if it would be left out. May be repeated.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l exclude -d 'Leave out names or paths in the app\'s directory that match, such as tests or \'*.md\'. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l handler -d 'The name of the entry point.' -r -f
complete -c rcorn -n "__fish_rcorn_using_subcommand pack" -l force -d 'Overwrite an existing zip.'
