//! From settings to the running loop, and from its end to the exit code: everything that is done
//! once.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use nix::sys::signal::{SigSet, Signal};

use rcorn_arbiter::{Arbiter, Event, Order, Outcome};
use rcorn_control::Build;
use rcorn_front_link::TicketKey;
use rcorn_log::{self as log, AccessForm};
use rcorn_settings::{Settings, non_empty_variable};
use rcorn_sys::clock;
use rcorn_sys::signal::ignore;
use rcorn_types::ExitStatus;

use super::background::Background;
use super::bind;
use super::captured_output::CapturedOutput;
use super::children::{Children, pair};
use super::control::ControlServer;
use super::driver::{Core, Driver};
use super::error::{StartError, system};
use super::front::{self, FrontProgram, Fronts, Reading};
use super::handover::{Handover, InPlaceState};
use super::hands::{FRONTS, Hands};
use super::interpreter;
use super::listener::Listener;
use super::logs::Logs;
use super::monitor::MonitorServer;
use super::native::{ModuleFile, NativeModules};
use super::origin::Origin;
use super::out_of_memory::OutOfMemory;
use super::owner::Owner;
use super::pidfile::PidFile;
use super::policy::policy;
use super::poller::Poller;
use super::reload::{ReadSources, ReloadTransaction};
use super::reports::{Receiver, ReportSocket};
use super::saved_children::take_over;
use super::service_manager::ServiceManager;
use super::shared_memory::SharedMemory;
use super::signals::Signals;
use super::slow::SlowRequests;
use super::sockets::{Sockets, handed_over};
use super::tally::Tally;
use super::telemetry::Telemetry;
use super::unix_socket::remove_stale;
use super::upgrade::{Predecessor, name_beside};
use super::watch::FileWatcher;

/// What the server starts with.
#[derive(Debug)]
pub struct Launch {
    /// The settings.
    pub settings: Settings,
    /// The native modules.
    pub modules: NativeModules,
    /// The executable of fronts, compressed; empty if this build has none.
    pub front: &'static [u8],
    /// How this process was started.
    pub origin: Origin,
    /// This build.
    pub build: Build,
    /// The hand-over of a predecessor, at an upgrade.
    pub handover: Option<Handover>,
    /// Entered once the addresses are bound: then this process is in the background.
    pub background: Option<Background>,
}

/// Runs the server to its end; returns its exit status.
///
/// # Errors
///
/// The server could not be started, or the system refused what supervision needs.
pub fn run(launch: Launch, read_sources: ReadSources<'_>) -> Result<ExitStatus, StartError> {
    let file_log = launch.settings.errorlog.path();
    let result = run_to_end(launch, read_sources);
    let Some(path) = file_log else {
        return result;
    };
    match result {
        // Under a supervisor or in the background nobody sees standard error.
        Err(error) => {
            log::critical(format_args!("{error}"));
            Err(error)
        }
        Ok(status) => match log::unsaid() {
            lost @ 1.. if status != ExitStatus::Success => {
                Err(StartError::Unsaid { path, lost, status })
            }
            _ => Ok(status),
        },
    }
}

fn run_to_end(launch: Launch, read_sources: ReadSources<'_>) -> Result<ExitStatus, StartError> {
    let prepared = prepare(&launch)?;
    let predecessor = launch.handover.as_ref().and_then(Handover::predecessor);
    let pid_file = launch.settings.pidfile.as_deref();
    let pid_file = pid_file.map(|path| PidFile::create(&name_beside(path, predecessor.is_some())));
    let pid_file = pid_file.transpose()?;
    // If a later step fails, the pid file is removed.
    let driver = assemble(launch, prepared, read_sources).inspect_err(|_error| {
        if let Some(pid_file) = &pid_file {
            pid_file.remove_or_warn();
        }
    });
    let mut driver = match driver {
        Ok(driver) => driver,
        Err(StartError::Stopped) => return Ok(ExitStatus::Success),
        Err(error) => return Err(error),
    };
    driver.hands.pid_file = pid_file;
    let outcome = driver.run().map_err(system("go on"));
    driver.tidy_up();
    Ok(match outcome? {
        Outcome::Stopped => ExitStatus::Success,
        Outcome::HostRefused => ExitStatus::Failure,
        Outcome::BootFailed => ExitStatus::BootFailed,
        Outcome::AppNotLoaded => ExitStatus::AppNotLoaded,
    })
}

/// The preparations that nobody else can see.
struct Prepared {
    owner: Owner,
    logs: Logs,
    telemetry: Telemetry,
    signals: Signals,
}

fn prepare(launch: &Launch) -> Result<Prepared, StartError> {
    let settings = &launch.settings;
    std::env::set_current_dir(&settings.chdir).map_err(|source| StartError::Directory {
        path: settings.chdir.clone(),
        source,
    })?;
    // Each template looks for its own. A missing one is reported before anything else begins.
    let found = interpreter::look_for(settings.python.clone(), &launch.origin)?;
    AccessForm::of(settings).map_err(StartError::AccessFormat)?;
    let owner = Owner::find(settings).map_err(|error| StartError::Logs(error.to_string()))?;
    let logs = Logs::start(settings, owner).map_err(StartError::Logs)?;
    let telemetry = telemetry(launch).map_err(system("set up syslog and statsd"))?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| system("become a subreaper")(errno.into()))?;
    // A write beyond the limit of file sizes fails then, and what failed can be said. Python does
    // the same in templates and workers.
    ignore(Signal::SIGXFSZ).map_err(system("ignore SIGXFSZ"))?;
    let signals = Signals::install().map_err(system("install signal handlers"))?;
    // A predecessor at an upgrade in place has blocked them until our handlers are installed.
    SigSet::empty()
        .thread_set_mask()
        .map_err(|errno| system("let signals in")(errno.into()))?;
    log::info(format_args!("Starting rcorn {}", env!("CARGO_PKG_VERSION")));
    for missed in found.missed {
        log::warning(format_args!(
            "There is no {missed}: the app runs with {}; hint: activate an environment that exists, unset VIRTUAL_ENV, or give \
             --python PATH",
            found.python.display()
        ));
    }
    Ok(Prepared {
        owner,
        logs,
        telemetry,
        signals,
    })
}

/// Before the first line of the log, so that syslog gets it, too.
fn telemetry(launch: &Launch) -> io::Result<Telemetry> {
    let state = launch.handover.as_ref();
    let state = state.and_then(|handover| handover.in_place.as_ref());
    let numbers = state.map(|state| state.telemetry).unwrap_or_default();
    let mut telemetry = Telemetry::take_over(numbers)?;
    telemetry.configure(&launch.settings)?;
    Ok(telemetry)
}

/// What arbiter, templates and workers share, new or taken over, and the state in which the arbiter
/// begins.
struct Inherited {
    brain: Arbiter,
    children: Children,
    memory: SharedMemory,
    reports: ReportSocket,
    tally: Tally,
    output: CapturedOutput,
    fronts: Fronts,
    /// The service manager knows that we serve.
    is_announced: bool,
    /// The first event.
    first: Event,
}

impl Inherited {
    fn new(
        state: Option<InPlaceState>,
        settings: &Settings,
        modules: NativeModules,
        program: FrontProgram,
    ) -> io::Result<Self> {
        let Some(state) = state else {
            return Ok(Self {
                brain: Arbiter::new(clock::now().as_nanos()),
                children: Children {
                    module: ModuleFile::new(modules),
                    ..Children::default()
                },
                memory: SharedMemory::create()?,
                reports: ReportSocket::new(pair()?),
                tally: Tally::begin(),
                output: CapturedOutput::default(),
                fronts: Fronts::new(program),
                is_announced: false,
                first: Event::Started(policy(settings)),
            });
        };
        let mut children = Children {
            module: ModuleFile::new(modules),
            ..state.children.restore()?
        };
        Ok(Self {
            brain: state.brain,
            fronts: state.fronts.restore(program, &mut children.fronts)?,
            children,
            memory: SharedMemory::take_over(
                take_over(state.scoreboard)?,
                state.threads.map(take_over).transpose()?,
                state.totals,
                &state.times,
            )?,
            reports: ReportSocket::new(take_over_both(state.reports)?),
            tally: Tally::take_over(state.tally),
            output: CapturedOutput::take_over(state.output)?,
            is_announced: state.is_announced,
            // The new build begins with an ordinary reload, during which the old workers serve.
            first: Event::Ordered(Order::Reload),
        })
    }
}

fn take_over_both((one, other): (RawFd, RawFd)) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((take_over(one)?, take_over(other)?))
}

/// Goes into the background, and opens the logs again: the standard streams are /dev/null then.
fn go_into_background(
    background: Background,
    settings: &Settings,
    owner: Owner,
) -> Result<Logs, StartError> {
    background
        .enter()
        .map_err(system("go into the background"))?;
    Logs::start(settings, owner).map_err(StartError::Logs)
}

/// Binds the sockets, and makes what the loop owns.
fn assemble(
    launch: Launch,
    prepared: Prepared,
    read_sources: ReadSources<'_>,
) -> Result<Driver<'_>, StartError> {
    let Launch {
        modules,
        front,
        settings,
        origin,
        build,
        handover,
        background,
    } = launch;
    let owner = prepared.owner;
    let mut logs = prepared.logs;
    let mut poller = Poller::new(prepared.signals).map_err(system("make an epoll set"))?;
    let predecessor = handover.as_ref().and_then(Handover::predecessor);
    let (mut sockets, given) = open_sockets(&settings, handover, &mut poller, owner)?;
    let (control, monitor) = open_control(&settings, predecessor.is_some(), given.state.as_ref())?;
    sockets.announce(&settings);
    log::info(format_args!("Using worker: {}", settings.worker_class));
    if let Some(background) = background {
        logs = go_into_background(background, &settings, owner)?;
    }
    let of = (&settings, &sockets, owner, logs.numbers().0);
    let inherited = inherit(of, given, (modules, front), &mut poller)?;
    let manager = ServiceManager::new(&non_empty_variable, inherited.is_announced);
    sockets.store(&manager);
    Ok(Driver {
        core: Core {
            brain: inherited.brain,
            poller,
            reports: Receiver::new(inherited.reports),
        },
        hands: Hands {
            memory: inherited.memory,
            children: inherited.children,
            sockets,
            settings,
            reload: ReloadTransaction::new(read_sources),
            predecessor: predecessor.map(Predecessor::new),
            refork: None,
            successor: None,
            origin,
            build,
            owner,
            logs,
            telemetry: prepared.telemetry,
            output: inherited.output,
            fronts: inherited.fronts,
            to_drain: Vec::new(),
            slow: SlowRequests::default(),
            manager,
            control,
            monitor,
            pid_file: None,
            out_of_memory: OutOfMemory::find(),
            tally: inherited.tally,
            watcher: FileWatcher::default(),
            has_booted: inherited.is_announced,
            queue: [inherited.first].into(),
            outcome: None,
        },
    })
}

/// Makes or takes over what processes share, and begins to speak TLS. The tuple: what fronts depend
/// on.
fn inherit(
    (settings, sockets, owner, error_log): (&Settings, &Sockets, Owner, RawFd),
    given: Given,
    (modules, front): (NativeModules, &'static [u8]),
    poller: &mut Poller,
) -> Result<Inherited, StartError> {
    let is_in_place = given.state.is_some();
    let inherited = Inherited::new(given.state, settings, modules, FrontProgram::new(front));
    let mut inherited = inherited.map_err(system("set up shared memory"))?;
    let taken = inherited.fronts.take_ticket_keys(given.ticket_keys);
    taken.map_err(system("make a key for session tickets"))?;
    let failed = system("wait for fronts");
    let registry = poller.registry().try_clone().map_err(&failed)?;
    let listeners: Vec<&Listener> = sockets.listeners().iter().collect();
    let context = front::Context {
        settings,
        listeners: &listeners,
        owner,
        generation: 0,
        error_log,
        registry: &registry,
        token: FRONTS,
        now: clock::now(),
    };
    if is_in_place {
        // Those of the build before serve until the reload that follows.
        inherited.fronts.register_all(&context).map_err(failed)?;
    } else if settings.has_fronts() {
        start_fronts(&context, &mut inherited, poller)?;
    }
    Ok(inherited)
}

/// Reads the certificates, and starts the fronts: what is wrong with TLS ends the start before the
/// app is imported.
fn start_fronts(
    given: &front::Context<'_>,
    inherited: &mut Inherited,
    poller: &mut Poller,
) -> Result<(), StartError> {
    let Inherited {
        fronts, children, ..
    } = inherited;
    let failed = system("read certificates");
    let mut reading = Reading::start(given.settings).map_err(&failed)?;
    reading
        .register(given.registry, given.token)
        .map_err(&failed)?;
    let tls = loop {
        if let Some(read) = reading.poll(clock::now()) {
            break read.map_err(StartError::Tls)?;
        }
        bind::wait(poller, reading.deadline())?;
    };
    fronts.apply(Some(tls), given, &mut children.fronts);
    while !fronts.all_serve() {
        if let Some(reason) = fronts.refusal() {
            let reason = StartError::Tls(reason.to_owned());
            fronts.kill_all();
            return Err(reason);
        }
        let due = fronts.deadline().unwrap_or_else(clock::now);
        bind::wait(poller, due)?;
        // Those that have ended say so here, before the loop reaps them.
        let now = clock::now();
        fronts.advance(&front::Context { now, ..*given }, &mut children.fronts);
    }
    Ok(())
}

/// What a predecessor has handed over, beside its sockets.
struct Given {
    /// Everything, from one in our place.
    state: Option<InPlaceState>,
    ticket_keys: Vec<TicketKey>,
}

/// Opens the listeners and the hand-off queue; returns what a predecessor has handed over, too.
fn open_sockets(
    settings: &Settings,
    handover: Option<Handover>,
    poller: &mut Poller,
    owner: Owner,
) -> Result<(Sockets, Given), StartError> {
    let failed = system("take over the sockets");
    let (given, queue) = match &handover {
        None => (Vec::new(), pair().map_err(system("make a socket pair"))?),
        Some(handover) => (
            handed_over(handover).map_err(&failed)?,
            take_over_both(handover.handoff_queue).map_err(&failed)?,
        ),
    };
    let listeners = bind::first_listeners(settings, &non_empty_variable, poller, given, owner)?;
    let (state, keys) = handover
        .map(|handover| (handover.in_place, handover.ticket_keys))
        .unwrap_or_default();
    let given = Given {
        state: state.map(|state| *state),
        ticket_keys: keys,
    };
    Ok((Sockets::new(listeners, queue), given))
}

/// Opens the addresses for operators: the control socket, and that of the status.
fn open_control(
    settings: &Settings,
    is_beside: bool,
    state: Option<&InPlaceState>,
) -> Result<(Option<ControlServer>, Option<MonitorServer>), StartError> {
    let control = ControlServer::open(settings, &non_empty_variable, is_beside);
    let control = control.map_err(StartError::Control)?;
    // The old build's socket may have had another path.
    if let Some(before) = state.and_then(|state| state.control_socket.as_deref())
        && control.as_ref().is_none_or(|now| now.path() != before)
        && let Err(error) = remove_stale(before)
    {
        log::warning(format_args!("cannot remove {}: {error}", before.display()));
    }
    // A predecessor beside us has the status address until it has gone.
    let monitor = if is_beside {
        None
    } else {
        MonitorServer::open(settings)?
    };
    Ok((control, monitor))
}
