//! The promises that hold in every story of a world that misbehaves at random.

mod world;

use proptest::prelude::*;

use super::*;
use world::{Kind, Owed, Turn, World, turns};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Invariants 1, 2 and 4 are asserted by the world at every action.
    #[test]
    fn no_action_meets_the_dead_and_nothing_follows_the_exit(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        prop_assert!(world.exits <= 1);
    }

    /// 3: once stopping, every living worker has been told.
    #[test]
    fn a_stop_reaches_everyone(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.play(&Turn::Order(0));
        for (pid, kind) in &world.living {
            // One that is asked where it hangs is about to be killed; if it gets on, it is told then.
            if let Kind::Worker(id) = kind
                && let Some(worker) = world.brain.pool().workers.get(id)
                && !matches!(worker.stage, Stage::Testifying { .. })
            {
                prop_assert!(world.told.contains(pid), "{pid:?} was not told: {:?}", worker.stage);
            }
        }
    }

    /// 5: from any point a stop, time, and a kernel that honours KILL lead to the exit.
    #[test]
    fn a_stop_always_ends(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.play(&Turn::Order(0));
        for _ in 0..200 {
            if world.over.is_some() {
                break;
            }
            // Nobody heeds anything but KILL.
            let kill = |action: &Action| {
                if let Action::Ask(pid, Ask::Kill) | Action::KillTemplate(_, pid) = action {
                    Some(*pid)
                } else {
                    None
                }
            };
            let killed: Vec<Pid> = world.log.iter().filter_map(kill).collect();
            for pid in killed {
                world.die(pid, Exit::Signal(9));
            }
            world.answer(0, true);
            world.pass(Duration::from_secs(10));
        }
        prop_assert!(world.over.is_some(), "{:?}", world.brain);
    }

    /// 6: left in peace, exactly the wanted number serves, all of the generation in force.
    #[test]
    fn in_peace_the_wanted_number_serves(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.peace();
        if world.over.is_none() && matches!(world.brain.phase(), Phase::Running) {
            prop_assert_eq!(world.serving_now(), world.brain.wanted(), "{:?}", world.brain);
            let generation = world.brain.generation();
            prop_assert!(world.brain.pool().workers.values().all(|worker| worker.generation == generation));
            prop_assert_eq!(world.brain.pool().templates.len(), 1, "{:?}", world.brain);
        }
    }

    /// 7: a reload in peace never lowers the number that serves.
    #[test]
    fn a_reload_keeps_capacity(workers in 1_u32..6, order in any::<u64>()) {
        let mut world = World::new(workers);
        world.peace();
        prop_assert_eq!(world.serving_now(), workers);
        world.play(&Turn::Order(2));
        let mut seed = order;
        for _ in 0..300 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed % 3 == 0 {
                world.told_go();
            } else if !world.owed.is_empty() {
                world.answer(usize::try_from(seed >> 40).unwrap_or(0), true);
            } else {
                world.pass(Duration::from_secs(1));
            }
            prop_assert!(world.serving_now() >= workers, "{} of {workers}", world.serving_now());
        }
        prop_assert_eq!(world.brain.generation(), Generation(2));
    }

    /// 10: same story, same actions.
    #[test]
    fn the_same_story_has_the_same_actions(story in turns(), workers in 1_u32..5) {
        let tell = || {
            let mut world = World::new(workers);
            for turn in &story {
                world.play(turn);
            }
            world.log
        };
        prop_assert_eq!(tell(), tell());
    }
}

/// 8: workers that die while they boot are not forked in a storm.
#[test]
fn deaths_at_boot_are_throttled() {
    let mut world = World::new(2);
    world.peace();
    let before = world.forks;
    let ids: Vec<Pid> = world
        .living
        .iter()
        .filter(|(_, kind)| matches!(kind, Kind::Worker(_)))
        .map(|(pid, _)| *pid)
        .collect();
    for pid in ids {
        world.die(pid, Exit::Signal(9));
    }
    let end = world.now.after(Duration::from_mins(1));
    while world.now < end {
        while let Some(index) = world
            .owed
            .iter()
            .position(|owed| matches!(owed, Owed::Fork(..)))
        {
            world.answer(index, true);
        }
        while let Some(index) = world
            .owed
            .iter()
            .position(|owed| matches!(owed, Owed::Boot(..)))
        {
            world.answer(index, false);
        }
        world.pass(Duration::from_millis(50));
    }
    let forks = world.forks - before;
    assert!((4..40).contains(&forks), "{forks} forks in a minute");
}

/// 9: a look that comes far too late blames nobody; the next one does.
#[test]
fn a_late_look_kills_no_one() {
    let mut world = World::new(2);
    world.peace();
    let id = *world.serving.iter().next().unwrap();
    world.busy.insert(id, world.now);
    let before = world.log.len();
    world.now = world.now.after(Duration::from_mins(5));
    world.tick();
    let killed = |world: &World, from: usize| {
        world
            .log
            .iter()
            .skip(from)
            .any(|action| matches!(action, Action::Ask(_, Ask::Abort)))
    };
    assert!(!killed(&world, before));
    world.pass(Duration::from_secs(31));
    assert!(killed(&world, before), "a hang outlives the mercy");
}
