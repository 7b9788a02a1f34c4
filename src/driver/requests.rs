//! The meaning of a request on the control socket: a decision without side effects, which the loop
//! carries out.

use rcorn_arbiter::{Arbiter, CellIndex, Order, Phase, Pid, WorkerId};
use rcorn_control::{Request, Scale};

/// The highest number of workers that can be ordered.
const MAX_WORKERS: u32 = 4096;

/// What to do for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Answer with the status.
    Status,
    /// Answer with the last slow requests.
    Slow,
    /// Answer that it cannot be done, and why.
    Refuse(String),
    /// Give the order, and answer with this line, which is logged, too.
    Order(Order, String),
    /// Order a reload, and answer when it is over.
    ReloadAndWait,
    /// Order that this worker becomes the template, and answer when it has, or does not.
    ReforkAndWait(WorkerId),
    /// Ask this process for its stacks, and answer with them.
    DumpStacks(Pid),
}

/// Decides. `has_stacks`: whether a process of this pid can dump its stacks; `served`: how many
/// requests the worker with this cell has served.
pub(super) fn decide(
    request: &Request,
    arbiter: &Arbiter,
    has_stacks: impl Fn(Pid) -> bool,
    served: impl Fn(CellIndex) -> u64,
) -> Decision {
    let refuse = |text: &str| Decision::Refuse(text.to_owned());
    let order = |order, text: &str| Decision::Order(order, text.to_owned());
    let decision = match *request {
        Request::Status => return Decision::Status,
        Request::Slow => return Decision::Slow,
        Request::Stack(number) => return dump_stacks(number, arbiter, has_stacks),
        Request::Reopen => return order(Order::Reopen, "log files are opened again"),
        Request::Stop { quick: true } => return order(Order::Quit, "quick stop ordered"),
        Request::Stop { quick: false } => return order(Order::Stop, "stop ordered"),
        Request::Refork => match (arbiter.refork_obstacle(), warmest(arbiter, served)) {
            (Some(reason), _) => refuse(reason),
            (None, None) => refuse("no worker serves"),
            (None, Some(id)) => Decision::ReforkAndWait(id),
        },
        Request::Reload { wait: true } => Decision::ReloadAndWait,
        Request::Reload { wait: false } => order(Order::Reload, "reload ordered"),
        Request::Upgrade if arbiter.upgrade().is_some() => {
            refuse("a new arbiter runs beside this one already")
        }
        Request::Upgrade if arbiter.is_reloading() => order(
            Order::Upgrade,
            "upgrade ordered, after the reload under way",
        ),
        Request::Upgrade => order(Order::Upgrade, "upgrade ordered"),
        Request::Scale(scale) => {
            let wanted = match scale {
                Scale::To(count) => count,
                Scale::By(more) => arbiter.wanted().saturating_add_signed(more),
            };
            if (1..=MAX_WORKERS).contains(&wanted) {
                order(Order::Scale(wanted), &format!("{wanted} workers ordered"))
            } else {
                refuse(&format!(
                    "{wanted} is not a number of workers from 1 to {MAX_WORKERS}"
                ))
            }
        }
        Request::Retire(number) => match worker(number, arbiter) {
            Some(id) => order(
                Order::Retire(id),
                &format!("worker {} will be replaced", id.0),
            ),
            None => refuse(&format!("there is no worker with the id or pid {number}")),
        },
    };
    let is_order = matches!(
        decision,
        Decision::Order(..) | Decision::ReloadAndWait | Decision::ReforkAndWait(_)
    );
    if is_order && arbiter.phase() != Phase::Running {
        refuse("rcorn is stopping")
    } else {
        decision
    }
}

/// The worker of the generation in force that has served most requests.
fn warmest(arbiter: &Arbiter, served: impl Fn(CellIndex) -> u64) -> Option<WorkerId> {
    let workers = arbiter.workers().iter();
    let able = workers.filter(|(_, worker)| {
        worker.stage.is_serving() && worker.generation == arbiter.generation()
    });
    able.max_by_key(|(_, worker)| served(worker.cell))
        .map(|(id, _)| id)
}

/// A worker by its id, else by its pid.
fn worker(number: u64, arbiter: &Arbiter) -> Option<WorkerId> {
    let workers = arbiter.workers();
    if workers.get(WorkerId(number)).is_some() {
        return Some(WorkerId(number));
    }
    workers.by_pid(Pid(i32::try_from(number).ok()?))
}

fn dump_stacks(number: u64, arbiter: &Arbiter, has_stacks: impl Fn(Pid) -> bool) -> Decision {
    let workers = arbiter.workers();
    let by_id =
        worker(number, arbiter).and_then(|id| workers.get(id).and_then(|one| one.stage.pid()));
    let pid = by_id.or_else(|| i32::try_from(number).ok().map(Pid));
    match pid.filter(|pid| has_stacks(*pid)) {
        Some(pid) => Decision::DumpStacks(pid),
        None => Decision::Refuse(format!(
            "there is no worker or template with the id or pid {number}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use rcorn_arbiter::Event;
    use rcorn_settings::Settings;
    use rcorn_types::Monotonic;

    use super::super::policy::policy;
    use super::*;

    fn running() -> Arbiter {
        let mut arbiter = Arbiter::new(1);
        let started = Event::Started(policy(&Settings::default()));
        arbiter.step(Monotonic::ZERO, started, &mut Vec::new());
        arbiter
    }

    fn ask(request: &Request, arbiter: &Arbiter) -> Decision {
        decide(request, arbiter, |pid| pid == Pid(7), |_cell| 0)
    }

    #[test]
    fn numbers_of_workers_have_limits() {
        let arbiter = running();
        let scale = |scale| ask(&Request::Scale(scale), &arbiter);
        assert!(matches!(
            scale(Scale::To(4096)),
            Decision::Order(Order::Scale(4096), _)
        ));
        for beyond in [
            Scale::To(0),
            Scale::To(4097),
            Scale::By(-100),
            Scale::By(i32::MAX),
        ] {
            assert!(matches!(scale(beyond), Decision::Refuse(_)), "{beyond:?}");
        }
    }

    #[test]
    fn a_stopping_server_takes_few_orders() {
        let mut arbiter = running();
        let stop = Event::Ordered(Order::Stop);
        arbiter.step(Monotonic::ZERO, stop, &mut Vec::new());
        for refused in [
            Request::Reload { wait: true },
            Request::Reload { wait: false },
            Request::Upgrade,
            Request::Scale(Scale::To(2)),
        ] {
            let decision = ask(&refused, &arbiter);
            assert_eq!(decision, Decision::Refuse("rcorn is stopping".to_owned()));
        }
        for taken in [
            Request::Status,
            Request::Reopen,
            Request::Stop { quick: true },
            Request::Stack(7),
        ] {
            assert!(!matches!(ask(&taken, &arbiter), Decision::Refuse(_)));
        }
    }

    #[test]
    fn whom_nobody_knows_cannot_be_asked() {
        let arbiter = running();
        assert_eq!(
            ask(&Request::Stack(7), &arbiter),
            Decision::DumpStacks(Pid(7))
        );
        for unknown in [
            Request::Stack(8),
            Request::Retire(8),
            Request::Retire(u64::MAX),
        ] {
            assert!(matches!(ask(&unknown, &arbiter), Decision::Refuse(_)));
        }
    }
}
