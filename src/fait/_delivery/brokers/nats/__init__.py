"""NATS JetStream. A topic is a stream, a lane is a subject; a publication is an atomic batch with the position."""
