"""RabbitMQ. A lane is a quorum queue or a stream; a publication waits for a confirmation of each message."""
