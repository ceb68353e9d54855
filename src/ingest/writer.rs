//! Takes what waits, makes it durable, and answers the requests.

use super::{
    durable::Durable,
    metrics::Metrics,
    pipeline::Queue,
    record::{Record, Stream},
    refusal::Refusal,
};

/// Writers of one process: one prepares and sends its batch while the other waits for its commit.
pub const WRITERS: usize = 2;

/// One of the writers.
pub struct Writer<D> {
    pub queue: Queue,
    pub durable: D,
    pub marks: Stream,
    pub metrics: Metrics,
}

impl<D: Durable> Writer<D> {
    /// Writes until the queue has ended.
    pub async fn run(mut self) {
        while let Some(taken) = self.queue.take().await {
            let record = Record::new(self.marks.next_mark(), taken.units);
            let kept = self.durable.keep(record, &mut self.marks, taken.deadline).await;
            // Here and not where requests are answered: some have gone away meanwhile.
            for (share, contents) in kept.left.iter().flat_map(Record::contents) {
                if let Some(Err(not_stored)) = kept.verdicts.get(share.unit) {
                    self.metrics.lost(share.key.as_ref(), contents, Refusal::from(*not_stored).reason());
                }
            }
            for (waiting, verdict) in taken.waiting.into_iter().zip(kept.verdicts) {
                waiting.answer(verdict);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

    use super::*;
    use crate::ingest::{
        durable::{Kept, NotStored},
        pipeline::{self, Unit},
        prepare,
        record::Streams,
    };

    /// Stands in for any place: durable when a turn is free, but for the last unit of a record.
    struct Elsewhere(Semaphore);

    impl Durable for &'static Elsewhere {
        async fn keep(&self, record: Record, _: &mut Stream, _: Instant) -> Kept {
            self.0.acquire().await.unwrap().forget();
            let mut verdicts = vec![Ok(()); record.shares.len()];
            *verdicts.last_mut().unwrap() = Err(NotStored::Unavailable);
            let mut left = record.clone();
            left.rows.truncate(1);
            left.shares.drain(..left.shares.len() - 1);
            Kept { verdicts, left: vec![left] }
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_when_its_unit_is_durable() {
        let elsewhere: &'static Elsewhere = Box::leak(Box::new(Elsewhere(Semaphore::new(0))));
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let (pipeline, queue) = pipeline::open(metrics.queued_events.clone());
        let unit = || Unit { rows: vec![prepare::tests::row(b"{}")], ..Unit::default() };
        let mut requests = Box::pin(async { tokio::join!(pipeline.store(unit()), pipeline.store(unit())) });
        assert!(futures::poll!(&mut requests).is_pending());
        let marks = Streams::default().open();
        let mut writing = JoinSet::new();
        writing.spawn(Writer { queue, durable: elsewhere, marks, metrics: metrics.clone() }.run());
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut requests).is_pending(), "nothing is durable yet");
        elsewhere.0.add_permits(1);
        let (first, second) = requests.await;
        assert!(first.is_ok() && matches!(second, Err(Refusal::DatabaseUnavailable)), "{first:?} {second:?}");
        drop(pipeline);
        writing.join_next().await.unwrap().unwrap();
    }
}
