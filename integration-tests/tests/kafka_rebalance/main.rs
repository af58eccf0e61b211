//! Members of Kafka groups come, go, die and pile up, in each of the ways in which a group agrees on who has what: nothing
//! is lost, nothing comes twice where nobody died, and each key's messages keep their order.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

mod crowd;
mod lab;
mod late;
mod member;
mod order;
mod process;
mod rolling;

use std::time::Duration;

/// Long enough that nobody is taken for dead on a busy machine.
const LEASE: Duration = Duration::from_secs(6);
/// Where members die, and are waited for.
const SHORT_LEASE: Duration = Duration::from_secs(3);
/// What a member may have in its hands.
const PREFETCH: usize = 50;
/// How long what was settled may stay uncommitted.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each case, in one way of agreeing.
macro_rules! protocol {
    ($name:ident, $protocol:ident) => {
        mod $name {
            use super::{crowd, late, rolling};
            use zephcast::kafka::GroupProtocol::$protocol;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_rolling_restart_repeats_nothing() {
                rolling::restart($protocol).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_death_of_a_process_repeats_only_what_it_had_not_committed() {
                rolling::kill($protocol).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_storm_of_joins_and_leaves_loses_nothing() {
                crowd::storm($protocol).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn members_without_a_partition_wait_and_take_over() {
                crowd::more_members_than_partitions($protocol).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn an_ack_after_the_revocation_does_not_move_the_offset() {
                late::ack($protocol).await;
            }
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_members_go_on_while_a_dead_one_is_waited_for() {
    rolling::others_go_on(zephcast::kafka::GroupProtocol::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_the_new_protocol_go_on_after_a_death() {
    rolling::others_go_on(zephcast::kafka::GroupProtocol::Consumer).await;
}

protocol!(classic, Classic);
protocol!(eager, Eager);
protocol!(consumer, Consumer);
