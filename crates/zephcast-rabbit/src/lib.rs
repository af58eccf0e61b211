//! Consumer groups on RabbitMQ, confirmed, routed and recovered. Under construction: nothing is public yet.
