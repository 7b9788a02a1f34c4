//! What clients of the control socket ask, done.

use std::time::Duration;

use rcorn_arbiter::{Event, Order, Phase, Pid, WorkerId};
use rcorn_control::{Answer, Request, Scale};
use rcorn_log as log;

use super::control::Waits;
use super::{Driver, now, postmortem};

/// What a process may take to write down where it is, and how often we look again when there is nothing yet.
const TESTIMONY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 9;

impl Driver<'_> {
    /// A client is ready.
    pub(super) fn hear_client(&mut self, token: usize) {
        let Some(control) = &mut self.control else {
            return;
        };
        match control.hear(token) {
            None => {}
            Some(Err(text)) => control.answer(token, &Answer::failed(text)),
            Some(Ok(request)) => self.obey(token, &request),
        }
    }

    fn answer(&mut self, token: usize, answer: &Answer) {
        if let Some(control) = &mut self.control {
            control.answer(token, answer);
        }
    }

    fn obey(&mut self, token: usize, request: &Request) {
        let (order, text) = match *request {
            Request::Status => {
                let status = self.status();
                let answer = Answer {
                    status: Some(status),
                    ..Answer::done("")
                };
                return self.answer(token, &answer);
            }
            Request::Stack(id) => return self.ask_stack(token, id),
            Request::Reload { wait } => {
                if !self.is_running() {
                    return self.answer(token, &Answer::failed("rcorn is stopping"));
                }
                if wait && let Some(control) = &mut self.control {
                    control.wait(token, Waits::Reload);
                    log::info(format_args!("Control: reload"));
                    self.last_reload = None;
                    self.queue.push_back(Event::Ordered(Order::Reload));
                    return;
                }
                (Order::Reload, "reload ordered".to_owned())
            }
            Request::Upgrade if self.brain.upgrade().is_some() => {
                let answer = Answer::failed("a new arbiter runs beside this one already");
                return self.answer(token, &answer);
            }
            Request::Upgrade if self.brain.is_reloading() => {
                return self.answer(token, &Answer::failed("a reload is under way"));
            }
            Request::Upgrade => (Order::Upgrade, "upgrade ordered".to_owned()),
            Request::Scale(scale) => {
                let wanted = match scale {
                    Scale::To(count) => count,
                    Scale::By(more) => self.brain.wanted().saturating_add_signed(more),
                };
                if wanted == 0 || wanted > 4096 {
                    let text = format!("{wanted} is not a number of workers from 1 to 4096");
                    return self.answer(token, &Answer::failed(text));
                }
                (Order::Scale(wanted), format!("{wanted} workers ordered"))
            }
            Request::Retire(id) => {
                let Some(worker) = self.worker(id) else {
                    let text = format!("there is no worker with the id or pid {id}");
                    return self.answer(token, &Answer::failed(text));
                };
                let text = format!("worker {} will be replaced", worker.0);
                (Order::Retire(worker), text)
            }
            Request::Reopen => (Order::Reopen, "log files are opened again".to_owned()),
            Request::Stop { quick: true } => (Order::Quit, "quick stop ordered".to_owned()),
            Request::Stop { quick: false } => (Order::Stop, "stop ordered".to_owned()),
        };
        if !self.is_running() && !matches!(order, Order::Stop | Order::Quit | Order::Reopen) {
            return self.answer(token, &Answer::failed("rcorn is stopping"));
        }
        log::info(format_args!("Control: {text}"));
        self.answer(token, &Answer::done(text));
        self.queue.push_back(Event::Ordered(order));
    }

    fn is_running(&self) -> bool {
        self.brain.phase() == Phase::Running
    }

    /// A worker by its id, else by its pid.
    fn worker(&self, number: u64) -> Option<WorkerId> {
        let workers = &self.brain.pool().workers;
        if workers.contains_key(&WorkerId(number)) {
            return Some(WorkerId(number));
        }
        self.brain.pool().by_pid(Pid(i32::try_from(number).ok()?))
    }

    fn ask_stack(&mut self, token: usize, number: u64) {
        let by_id = self
            .worker(number)
            .and_then(|id| self.brain.pool().workers.get(&id)?.stage.pid());
        let pid = by_id.or_else(|| i32::try_from(number).ok().map(Pid));
        let pid = pid.filter(|pid| self.children.testimony(*pid).is_some());
        let Some(pid) = pid else {
            let text = format!("there is no worker or template with the id or pid {number}");
            return self.answer(token, &Answer::failed(text));
        };
        self.children.ask_where(pid);
        if let Some(control) = &mut self.control {
            let due = now().after(TESTIMONY);
            control.wait(token, Waits::Stack(pid, due, LOOKS));
        }
    }

    /// Answers those whose time has come.
    pub(super) fn answer_waiting(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        let now = now();
        let due = control.who_waits(|waits| matches!(waits, Waits::Stack(_, due, _) if due <= now));
        for token in due {
            let Some(Waits::Stack(pid, _, looks)) = control.waits(token) else {
                continue;
            };
            let stacks = self.children.testimony(pid).map(postmortem::read);
            let answer = match (stacks, looks.checked_sub(1)) {
                (Some(stacks), _) if !stacks.is_empty() => Answer::done(stacks),
                (Some(_), Some(looks)) => {
                    let due = now.after(TESTIMONY);
                    control.wait(token, Waits::Stack(pid, due, looks));
                    continue;
                }
                (_, _) => Answer::failed(format!("process {pid} gave no answer")),
            };
            control.answer(token, &answer);
        }
        let over = !self.brain.is_reloading() && !self.brain.is_watching();
        let stopping = self.brain.phase() != Phase::Running;
        if !over && !stopping {
            return;
        }
        let answer = match &self.last_reload {
            Some(Ok(text)) => Answer::done(text.clone()),
            Some(Err(text)) => Answer::failed(text.clone()),
            None if stopping => Answer::failed("rcorn is stopping"),
            None => return,
        };
        for token in control.who_waits(|waits| waits == Waits::Reload) {
            control.answer(token, &answer);
        }
    }
}
