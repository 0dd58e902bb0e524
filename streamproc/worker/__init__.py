"""The shell that runs the two reducers on Kafka: runs, snapshots, commits, topics, metrics, health."""
