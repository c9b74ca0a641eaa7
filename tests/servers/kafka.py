"""Kafka servers that the tests start, kill and freeze: one node, broker and controller in one process.

python -m tests.servers.kafka      downloads the server with Maven, once: 44 MB in the cache of this user
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.servers.broker import BrokerServer
from tests.servers.certificate import Certificate
from tests.servers.home import START_TIMEOUT_S, UNPRIVILEGED, account, free_port

VERSION: Final = "4.3.1"
INSTALL: Final = "python -m tests.servers.kafka, with Java 17 and Maven (apt-get install default-jre-headless maven)"

SERVER_CLASS: Final = "kafka.server.KafkaRaftServer"
CLUSTER_ID: Final = "4L6g3nShT-eMCtK--X86sw"
USER: Final = "fait"

PROJECT: Final = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fait</groupId><artifactId>kafka-server</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    # With the default of 10 s, consumers would wait that long behind the transaction of a publisher that was killed.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A broker that was killed is refused its own id for this time, and one that was frozen for longer joins again.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "200",
    "log.flush.interval.messages": "1",  # every message is flushed to the disk before it is acknowledged
    "log.cleaner.dedupe.buffer.size": "4194304",
    "num.network.threads": "2",
    "num.io.threads": "2",
}


def cache() -> Path:
    """Return the folder with the server's archives, which may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fait" / f"kafka-server-{VERSION}"


def program() -> Path | None:
    """Return Java, or None if it or the server is missing."""
    java = shutil.which("java")
    return Path(java) if java and cache().is_dir() else None


def download() -> None:
    """Download the server, unless it is there. A download that was interrupted leaves nothing."""
    if cache().is_dir():
        return
    cache().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache().parent) as name:
        folder, new = Path(name), Path(name) / "kafka"
        (folder / "pom.xml").write_text(PROJECT)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={new / 'jars'}", "-DincludeScope=runtime"]
        subprocess.run(["mvn", "-q", "-B", *goal], cwd=folder, check=True)
        format_once(folder, new)
        new.rename(cache())


def format_once(folder: Path, new: Path) -> None:
    """Make an empty data directory, which all servers copy: Kafka's program for it takes a second."""
    voter, unused = "controller.quorum.voters=1@127.0.0.1:1", "listeners=CLIENT://127.0.0.1:2,CONTROLLER://127.0.0.1:1"
    names = "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=CLIENT"
    lines = [f"{name}={value}" for name, value in SETTINGS.items()] + [voter, unused, names, f"log.dirs={new / 'data'}"]
    (folder / "server.properties").write_text("\n".join([*lines, ""]))
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", folder / "server.properties"]
    subprocess.run(["java", "-cp", f"{new / 'jars'}/*", *tool], check=True, capture_output=True)


class KafkaServer(BrokerServer):
    """One Kafka server.

    Args:
        password: the password of the user `fait`; None: clients need none.
        certificate: accept only TLS connections, with this certificate.
        settings: others, by the names of Kafka's configuration.
        options: options of the URL, such as "transactions=off".

    Raises:
        LookupError: it is not installed.
        RuntimeError: it did not start; the message has its log.
    """

    name = "kafka"
    end_with = "KILL"  # in order, it would end after seconds

    def __init__(
        self,
        *,
        password: str | None = None,
        certificate: Certificate | None = None,
        settings: Mapping[str, str] | None = None,
        options: str = "",
    ) -> None:
        self._settings = settings or {}
        self._options = f"?{options}" if options else ""
        self._password = password
        self._certificate = certificate
        self._controller_port = free_port()
        if (found := program()) is None:
            raise LookupError(f"Kafka is not installed: {INSTALL}")
        super().__init__(found)

    @property
    def url(self) -> str:
        """The URL without the password."""
        scheme = "kafka+ssl" if self._certificate else "kafka"
        return f"{scheme}://127.0.0.1:{self.port}{self._options}"

    def prepare(self) -> None:
        self._archives = accessible_archives(self.directory)
        lines = [f"{name}={value}" for name, value in self._all_settings().items()]
        (self.directory / "server.properties").write_text("\n".join([*lines, ""]))
        self.format()

    def format(self) -> None:
        """Make an empty data directory."""
        data = Path(shutil.copytree(cache() / "data", self.directory / self.data))
        for each in (data, *data.iterdir()):
            if account():
                os.chown(each, UNPRIVILEGED, UNPRIVILEGED)

    def erase(self) -> None:
        super().erase()
        self.format()

    def delete_topics(self) -> None:
        """Delete all topics, so that a test that needs no other data can use a server again."""
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0})
        names = [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")]
        for deleted in client.delete_topics(names).values() if names else ():
            deleted.result()

    def _all_settings(self) -> dict[str, str]:
        protocol = ("SASL_" if self._password else "") + ("SSL" if self._certificate else "PLAINTEXT")
        address, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._controller_port}"
        settings = {
            **SETTINGS,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"CLIENT://{address},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENT://{address}",
            "inter.broker.listener.name": "CLIENT",
            "listener.security.protocol.map": f"CLIENT:{protocol},CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / self.data),
        }
        return settings | self._tls_settings() | self._password_settings() | dict(self._settings)

    def _tls_settings(self) -> dict[str, str]:
        if self._certificate is None:
            return {}
        public, private = self._certificate.copied(self.directory)
        store = self.directory / "keystore.pem"
        store.write_bytes(private.read_bytes() + public.read_bytes())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(public),
        }

    def _password_settings(self) -> dict[str, str]:
        if self._password is None:
            return {}
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        user = f'username="{USER}" password="{self._password}" user_{USER}="{self._password}"'
        return {
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": f"{module} required {user};",
        }

    def _java_arguments(self) -> list[str | Path]:
        memory = [
            "-Xms128m",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.net.preferIPv4Stack=true",
        ]
        log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Dorg.slf4j.simpleLogger.log.{SERVER_CLASS}=info"]
        return [*memory, *log, "-cp", f"{self._archives}/*"]

    def arguments(self) -> list[str | Path]:
        return [*self._java_arguments(), "kafka.Kafka", self.directory / "server.properties"]

    def start(self) -> None:
        self._former_log_bytes = self.log.stat().st_size if self.log.exists() else 0
        super().start()
        if not (self._password or self._certificate):
            self._load_coordinators()

    def _load_coordinators(self) -> None:
        """Wait for what the first transaction and the first consumer group would otherwise wait for."""
        client = {"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0}
        producer = Producer({**client, "transactional.id": "tests"})
        producer.list_topics(timeout=START_TIMEOUT_S)
        producer.init_transactions(START_TIMEOUT_S)
        consumer = Consumer({**client, "group.id": "tests"})
        with contextlib.suppress(KafkaException):  # the coordinator may still be elected at its end
            consumer.committed([TopicPartition("none", 0)], START_TIMEOUT_S)
        consumer.close()

    def is_ready(self, pid: int) -> bool:
        # The port listens before the broker has joined its cluster; until then topics have no leader.
        with self.log.open("rb") as log:
            log.seek(self._former_log_bytes)
            return b"Kafka Server started" in log.read()


def accessible_archives(directory: Path) -> Path:
    """Return a folder with the archives that the server's user can read: links, as the cache is in a private folder."""
    archives = directory / "jars"
    archives.mkdir()
    for each in (cache() / "jars").iterdir():
        try:
            (archives / each.name).hardlink_to(each)
        except OSError:  # another file system
            shutil.copy(each, archives)
    return archives


if __name__ == "__main__":
    download()
