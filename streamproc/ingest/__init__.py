"""Stage zero: what other gateways log, from files, Kafka or HTTP, made into request events without a raw word."""
