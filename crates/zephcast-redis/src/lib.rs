//! Consumer groups on Redis Streams.
