//! One client for consumer groups on Kafka, RabbitMQ, Redis Streams and an embedded broker.
