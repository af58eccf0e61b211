//! Members come, go, die and forget at random; a model says what each may see. A failing seed is printed and repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::advance;
use zephcast_core::driver::{Credit, Disposition, Fetched, Incoming, Release, Renewal, Returned};
use zephcast_core::{Message, UnitId};
use zephcast_memory::{Fault, Operation};

use crate::lab::{Lab, Member, dead, lab, later};

const UNITS: u32 = 3;
const STEPS: usize = 150;

type Key = (u32, u64);

/// A member and what it believes.
struct Player {
    member: Member,
    owns: BTreeSet<u32>,
    held: BTreeMap<Key, Incoming>,
    releases: Vec<Release>,
}

/// A group under test and what is true of it.
struct World {
    lab: Lab,
    random: Rng,
    players: BTreeMap<u32, Player>,
    next_name: u32,
    published: u64,
    /// Settled for good: acked or dead.
    settled: BTreeSet<Key>,
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_doubled_or_shared_whatever_happens() {
    for seed in 0..300 {
        eprintln!("seed {seed}");
        let mut world = World {
            lab: lab(UNITS),
            random: Rng::with_seed(seed),
            players: BTreeMap::new(),
            next_name: 0,
            published: 0,
            settled: BTreeSet::new(),
        };
        world.join().await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
    }
}

impl World {
    async fn step(&mut self) {
        match self.random.u32(0..100) {
            0..15 => self.publish().await,
            15..19 => self.join().await,
            19..22 => self.leave().await,
            22..24 => self.drop_one(),
            24..26 => self.crash(),
            26..28 => self.lose_an_answer(),
            28..34 => self.release(),
            34..36 => self.pass_time().await,
            36..44 => self.renew().await,
            44..72 => self.fetch().await,
            _ => self.settle().await,
        }
        let status = self.lab.status().await;
        assert_eq!(status.lag, Some(self.published - self.settled.len() as u64), "{status:?}");
        let owners = status.units.iter().filter_map(|unit| unit.owner.clone());
        assert!(owners.count() <= UNITS as usize);
    }

    async fn publish(&mut self) {
        let count = self.random.u64(1..8);
        let batch: Vec<_> = (0..count).map(|_| Message::new("x")).collect();
        self.lab.sink().await.publish(&batch).await;
        self.published += count;
    }

    async fn join(&mut self) {
        if self.players.len() < 5 {
            let member = self.lab.join(&format!("m{}", self.next_name)).await;
            let player = Player { member, owns: BTreeSet::new(), held: BTreeMap::new(), releases: Vec::new() };
            self.players.insert(self.next_name, player);
            self.next_name += 1;
        }
    }

    fn anyone(&mut self) -> Option<u32> {
        let names: Vec<_> = self.players.keys().copied().collect();
        self.random.choice(names)
    }

    async fn leave(&mut self) {
        let Some(name) = self.anyone() else { return };
        let Some(player) = self.players.remove(&name) else { return };
        let held = player.held.values().zip(player.held.keys());
        let back = |(incoming, key): (&Incoming, &Key)| Returned {
            unit: UnitId(key.0),
            token: incoming.token,
            attempts: incoming.attempt - 1,
        };
        player.member.leave(held.map(back).collect()).await;
    }

    fn drop_one(&mut self) {
        let name = self.anyone();
        drop(name.and_then(|name| self.players.remove(&name)));
    }

    fn crash(&mut self) {
        if let Some(name) = self.anyone() {
            self.lab.broker.faults().crash(&format!("m{name}"));
        }
    }

    fn lose_an_answer(&mut self) {
        let operation = *[Operation::Fetch, Operation::Settle].get(self.random.usize(0..2)).unwrap();
        self.lab.broker.faults().inject(Fault::lose_reply().on(operation).times(1));
    }

    fn release(&mut self) {
        let Some(name) = self.anyone() else { return };
        let player = self.players.get_mut(&name).unwrap();
        for release in player.releases.drain(..) {
            for unit in &release.units {
                player.owns.remove(&unit.0);
                player.held.retain(|key, _| key.0 != unit.0);
            }
            release.release();
        }
    }

    async fn pass_time(&mut self) {
        advance(Duration::from_secs(self.random.u64(1..20))).await;
    }

    async fn renew(&mut self) {
        for player in self.players.values() {
            player.member.settler.renew(Renewal::default()).await.unwrap();
        }
    }

    async fn fetch(&mut self) {
        let Some(name) = self.anyone() else { return };
        let credit = Credit { messages: self.random.usize(1..6), bytes: 1_000, suspect: self.random.bool() };
        let player = self.players.get_mut(&name).unwrap();
        player.member.settler.interrupt();
        match player.member.intake.fetch(credit).await {
            Ok(Fetched::Batch(batch)) => {
                assert!(player.owns.contains(&batch.unit.0), "a message of a unit that is not its own");
                assert!(!credit.suspect || batch.messages.len() <= credit.messages);
                for incoming in batch.messages {
                    self.handed_out(name, batch.unit.0, incoming, credit);
                }
            }
            Ok(Fetched::Assigned(units)) => player.owns.extend(units.iter().map(|unit| unit.0)),
            Ok(Fetched::Revoking(release)) => player.releases.push(release),
            Ok(Fetched::Lost(units)) => {
                for unit in units {
                    player.owns.remove(&unit.0);
                    player.held.retain(|key, _| key.0 != unit.0);
                    // Lost is lost: a release that comes later is not about a later assignment.
                    player.releases.retain(|release| !release.units.contains(&unit));
                }
            }
            Ok(Fetched::Idle | Fetched::Suspects) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }

    fn handed_out(&mut self, name: u32, unit: u32, incoming: Incoming, credit: Credit) {
        let key = (unit, incoming.origin.1.0);
        assert!(!self.settled.contains(&key), "{key:?} was settled");
        assert!(credit.suspect || !incoming.suspect, "a suspect without being asked for");
        let held = &mut self.players.get_mut(&name).unwrap().held;
        if let Some(before) = held.get(&key) {
            assert!(before.token <= incoming.token, "a token goes back");
        }
        held.insert(key, incoming);
    }

    async fn settle(&mut self) {
        let Some(name) = self.anyone() else { return };
        let choice = self.random.u32(0..10);
        let delay = Duration::from_secs(self.random.u64(0..4));
        let player = self.players.get_mut(&name).unwrap();
        let keys: Vec<_> = player.held.keys().copied().collect();
        let Some(key) = self.random.choice(keys) else { return };
        let incoming = player.held.remove(&key).unwrap();
        let (unit, token) = (key.0, incoming.token);
        let disposition = match choice {
            0..6 => None,
            6 => Some(dead(&incoming)),
            7 => Some(later(&incoming, delay)),
            8 => Some(Disposition::Keep { attempts: incoming.attempt }),
            _ => Some(Disposition::Return { attempts: incoming.attempt }),
        };
        let result = loop {
            let result = match &disposition {
                None => player.member.ack_tokens(unit, [token]).await,
                Some(disposition) => player.member.dispose(unit, token, disposition.clone()).await,
            };
            match result {
                Err(error) => assert!(error.is_retryable(), "{error}"),
                Ok(lost) => break lost,
            }
        };
        if !result.is_empty() {
            assert_eq!(result, [(UnitId(unit), token)]);
        } else if choice <= 6 {
            assert!(self.settled.insert(key), "{key:?} was settled twice");
        } else if choice == 8 {
            player.held.insert(key, incoming);
        }
        self.every_hand_out_is_its_own();
    }

    /// What one member can settle, no other has: whoever still believes in a former hand-out has another token.
    fn every_hand_out_is_its_own(&self) {
        let mut owners = BTreeMap::new();
        for (name, player) in &self.players {
            for incoming in player.held.iter().map(|(key, incoming)| (key.0, incoming.token)) {
                if let Some(other) = owners.insert(incoming, *name) {
                    panic!("{incoming:?} is with {other} and {name}");
                }
            }
        }
    }

    /// All go but one, and that one gets everything that is left.
    async fn finish(mut self) {
        self.lab.broker.faults().clear();
        self.players.clear();
        let mut last = self.lab.join("last").await;
        while (self.settled.len() as u64) < self.published {
            last.renew().await;
            // A fetch for suspects does not wait, the other one does, for delays at most.
            for suspect in [true, false] {
                if self.settled.len() as u64 == self.published {
                    break;
                }
                let credit = Credit { messages: 10, bytes: 1_000, suspect };
                if let Fetched::Batch(batch) = last.intake.fetch(credit).await.unwrap() {
                    assert_eq!(last.ack(&batch).await, []);
                    for incoming in batch.messages {
                        assert!(self.settled.insert((batch.unit.0, incoming.origin.1.0)), "settled twice");
                    }
                }
            }
        }
        assert_eq!(self.lab.status().await.lag, Some(0));
    }
}
