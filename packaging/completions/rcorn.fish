# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rcorn_global_optspecs
    string join \n h/help v/version generate= c/config= check-config print-config chdir= pythonpath= e/env= python= preload no-preload reload reload-engine= reload-extra-file= b/bind= backlog= reuse-port protocol= w/workers= k/worker-class= max-requests= max-requests-jitter= max-worker-memory= max-worker-age= t/timeout= boot-timeout= graceful-timeout= reload-watch= reload-probe= drain-mode= drain-delay= keep-alive= max-keepalive-requests= header-timeout= body-timeout= write-timeout= worker-connections= request-buffer= response-buffer= limit-request-line= limit-request-fields= limit-request-field_size= no-require-host permit-obsolete-folding permit-unconventional-http-method permit-unconventional-http-version casefold-http-method header-map= no-sendfile forwarded-allow-ips= forwarder-headers= secure-scheme-headers= uwsgi-allow-from= proxy-protocol= proxy-allow-from= p/pid= D/daemon control-socket= control-socket-mode= no-control-socket upgrade= m/umask= u/user= g/group= initgroups n/name= error-logfile= access-logfile= access-logformat= log-level= log-config= log-config-json= capture-output
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

complete -c rcorn -n "__fish_rcorn_needs_command" -l generate -d 'Print a page made from the table of settings and leave: man, settings-man, signals-man, reference, template, bash, zsh or fish.' -r -f -a "man\t''
settings-man\t''
signals-man\t''
reference\t''
template\t''
bash\t''
zsh\t''
fish\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s c -l config -d 'Read settings from this file: rcorn.yaml, or a gunicorn.conf.py. Also file:PATH and python:MODULE.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l chdir -d 'Work in this directory. It is also the first place where modules are looked for. The default is the directory that rcorn was started in.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_needs_command" -l pythonpath -d 'Directories to look for modules in, before the others.' -r -f -a "(__fish_complete_directories)"
complete -c rcorn -n "__fish_rcorn_needs_command" -s e -l env -d 'Set an environment variable for the app. May be repeated.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l python -d 'The Python to run the app with. The default is the one of the virtual environment that rcorn is installed in or that is active, else python3.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-engine -d 'How reload finds changes. inotify hears of them from the kernel, poll looks at all files once a second: for network file systems. auto is inotify wherever that works. [one of: auto, inotify, poll] [default: auto]' -r -f -a "auto\t''
inotify\t''
poll\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-extra-file -d 'Another file for reload to watch, whatever its kind. It may be a path, a pattern such as templates/**/*.html, or a directory with all that is in it, and need not exist yet. May be repeated.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -s b -l bind -d 'Listen here: HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd://N. May be repeated. With uwsgi:// before it the uwsgi protocol is spoken there: uwsgi://HOST:PORT, uwsgi://unix:PATH. With PORT in the environment the default is 0.0.0.0:PORT. [env: PORT] [default: 127.0.0.1:8000]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l backlog -d 'How many connections may wait to be accepted. [default: 2048]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l protocol -d 'What is spoken where bind does not say uwsgi://. uwsgi is the protocol of nginx\'s uwsgi_pass. [one of: http, uwsgi] [default: http]' -r -f -a "http\t''
uwsgi\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s w -l workers -d 'How many workers serve. [env: WEB_CONCURRENCY] [default: 1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s k -l worker-class -d 'The kind of workers. There is one: sync. [default: sync]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-requests -d 'Replace a worker after this many requests; 0 keeps it. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-requests-jitter -d 'Add a random number up to this one to max_requests, anew for each worker. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-worker-memory -d 'Replace a worker that has grown beyond this; 0 keeps it. Looked at after requests, once a second at most. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-worker-age -d 'Replace a worker after this time; 0 keeps it. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s t -l timeout -d 'Kill a worker whose app takes longer than this for one request; 0 lets it run. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l boot-timeout -d 'Kill a worker that is not ready after this time; 0 lets it go on. [default: 60]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l graceful-timeout -d 'The time that workers have to finish what they do when rcorn stops or reloads. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-watch -d 'Undo a reload when new workers die within this time. [default: 5]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload-probe -d 'Ask the first worker of a reload for this path before it replaces anybody. A status of 400 or above undoes the reload.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l drain-mode -d 'What a stop does with connections that wait to be accepted. queue serves them, immediate does not, delay goes on as before for drain_delay and then serves them. [one of: queue, immediate, delay] [default: queue]' -r -f -a "queue\t''
immediate\t''
delay\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l drain-delay -d 'How long a stop is put off, so that load balancers find out. More than 0 implies the drain mode delay, whose own default is 5 seconds. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l keep-alive -d 'Keep an idle connection open for this time; 0 closes it after each response. [default: 75]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l max-keepalive-requests -d 'Close a connection after this many requests; 0 keeps it. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l header-timeout -d 'The time a client has to send the head of a request; 0 is for ever. [default: 20]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l body-timeout -d 'The longest pause while a client sends a body; 0 is for ever. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l write-timeout -d 'The longest pause while a client takes a response; 0 is for ever. [default: 30]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l worker-connections -d 'How many connections a worker holds at once, most of them waiting. With one more the longest idle is closed; when none is idle, one whose request has not come to its end. So, too, where the limit of open files (ulimit -n) is nearly reached: its last 8 to 64 are left to the app. [default: 1000]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l request-buffer -d 'Let a body up to this size arrive before the app is called. Of larger ones so much is awaited, and the rest streamed. [default: 1MiB]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l response-buffer -d 'Send a response up to this size while the worker goes on. Larger ones hold it until no more than this is left. A file (wsgi.file_wrapper) holds no worker, whatever its size. [default: 1MiB]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-line -d 'The longest request line, at most 8190; 0 is 1 MiB. [default: 4094]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-fields -d 'The most header fields of a request, at most 32768; 0 is 32768. [default: 100]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l limit-request-field_size -l limit-request-field-size -d 'The longest header field; 0 is 8190. [default: 8190]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l header-map -d 'What to do with header fields that have an underscore in their name. [one of: drop, refuse, dangerous] [default: drop]' -r -f -a "drop\t''
refuse\t''
dangerous\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l forwarded-allow-ips -d 'The proxies to believe: addresses, networks, or * for all. Peers on unix sockets are always believed. [env: FORWARDED_ALLOW_IPS] [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l forwarder-headers -d 'Header fields with an underscore that the app gets from a believed proxy. [default: SCRIPT_NAME,PATH_INFO]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l secure-scheme-headers -d 'Header fields with which a believed proxy says that the client came by HTTPS. [default: X-FORWARDED-PROTOCOL=ssl,X-FORWARDED-PROTO=https,X-FORWARDED-SSL=on]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l uwsgi-allow-from -d 'The peers that may speak uwsgi: addresses, networks, or * for all. Peers on unix sockets always may. [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l proxy-protocol -d 'Take the client\'s address from a PROXY header, v1, v2 or (auto) both. The mere flag means auto. [one of: off, v1, v2, auto] [default: off]' -r -f -a "off\t''
v1\t''
v2\t''
auto\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l proxy-allow-from -d 'The peers that may send a PROXY header: addresses, networks, or * for all. Peers on unix sockets always may. [default: 127.0.0.1,::1]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s p -l pid -d 'Write the pid here.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l control-socket -d 'Where rcorn ctl finds this instance. The default is a socket named after the pid in $XDG_RUNTIME_DIR/rcorn, /run/rcorn or /tmp/rcorn-UID. A second rcorn (USR2) has PATH with .2, until the first is gone.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l control-socket-mode -d 'The permissions of the control socket. The peer must be root or our own user in any case. [default: 0o600]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l upgrade -d 'What USR2 does. beside starts a second rcorn with the same sockets, as gunicorn does; in-place turns this process into the new build, under the same pid. [one of: beside, in-place] [default: beside]' -r -f -a "beside\t''
in-place\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -s m -l umask -d 'Permissions that files we make shall not have; octal with a leading zero. [default: 0]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s u -l user -d 'The user to work as, by name or number.' -r -f -a "(__fish_complete_users)"
complete -c rcorn -n "__fish_rcorn_needs_command" -s g -l group -d 'The group to work as, by name or number.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -s n -l name -d 'The name in the titles of the processes.' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l error-logfile -l log-file -d 'Write the error log here; - is standard error. [default: -]' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l access-logfile -d 'Write the access log here; - is standard output. By default there is none.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l access-logformat -d 'The form of a line in the access log. [default: %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"]' -r -f
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-level -d 'How much to write to the error log. [one of: debug, info, warning, error, critical] [default: info]' -r -f -a "debug\t''
info\t''
warning\t''
error\t''
critical\t''"
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-config -d 'Configure Python\'s loggers by this file, before the app is imported. It is read by logging.config.fileConfig.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -l log-config-json -d 'Configure Python\'s loggers by this JSON file. It is given to logging.config.dictConfig.' -r -F
complete -c rcorn -n "__fish_rcorn_needs_command" -s h -l help -d 'Show this text and leave.'
complete -c rcorn -n "__fish_rcorn_needs_command" -s v -l version -d 'Show the version and leave.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l check-config -d 'Look at the settings, import the app, and leave: with 0 if all is well.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l print-config -d 'Print the settings, check them as --check-config does, and leave.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l preload -d 'Import the app once, before the workers are forked. It saves memory and time. By default this is done unless the imported app turns out to be unsafe to fork; --no-preload lets each worker import it.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-preload -d 'The opposite of --preload.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l reload -d 'Load the app anew whenever a Python file of it changes. For development: an app that cannot be loaded answers with its traceback until the next change.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l reuse-port -d 'Give each worker a listening socket of its own.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-require-host -d 'Refuse HTTP/1.1 requests without a Host field; --no-require-host accepts them.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-obsolete-folding -d 'Accept header fields that go on in the next line.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-unconventional-http-method -d 'Accept methods in lower case, with #, or of a length that no method has.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l permit-unconventional-http-version -d 'Accept other versions than HTTP/1.0 and HTTP/1.1.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l casefold-http-method -d 'Give the app all methods in upper case.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-sendfile -d 'Send files by sendfile, a system call; --no-sendfile copies them instead. The variable takes true, yes, y or 1; anything else says no. [env: SENDFILE]'
complete -c rcorn -n "__fish_rcorn_needs_command" -s D -l daemon -d 'Run in the background, once the addresses are bound. Services under systemd or supervisor need no such thing.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l no-control-socket -d 'Offer no control socket.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l initgroups -d 'Join all groups of the user too.'
complete -c rcorn -n "__fish_rcorn_needs_command" -l capture-output -d 'Send what the app prints to the error log.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "ctl" -d 'Asks a running rcorn, or gives it an order.'
complete -c rcorn -n "__fish_rcorn_needs_command" -f -a "migrate" -d 'Translates a uwsgi.ini or a gunicorn.conf.py into a rcorn.yaml, on standard output.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "status" -d 'Show workers, what they do, and the last reload.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "reload" -d 'Load settings and code anew, as HUP does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "upgrade" -d 'Start the build that is installed now, as USR2 does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "scale" -d 'Change the number of workers: N, +N or -N.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "retire" -d 'Replace a worker.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "stack" -d 'Show where a worker or template is: all its Python stacks.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "reopen" -d 'Open the log files again, as USR1 does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and not __fish_seen_subcommand_from status reload upgrade scale retire stack reopen stop" -f -a "stop" -d 'Stop, as TERM does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -s c -l check -d 'Leave with 1 unless a worker serves: for health checks.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -s w -l wait -d 'Leave when it is over: with 0 when the new code serves, with 1 when the old one does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reload" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from upgrade" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from scale" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from retire" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stack" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from reopen" -l json -d 'Show the answer as JSON.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -s s -l socket -d 'The instance\'s control socket. Needed when several instances run.' -r -F
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -s p -l pid -d 'The instance\'s pid, instead of its socket.' -r
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -l quick -d 'At once, as INT does.'
complete -c rcorn -n "__fish_rcorn_using_subcommand ctl; and __fish_seen_subcommand_from stop" -l json -d 'Show the answer as JSON.'
