"""Agents of a daemon: entries of its configuration."""

from subjects import BIN

INTERVAL = 2.0
MAX_AGE = 6.0


def agent(name):
    """This project's agent, which sends heartbeats over the socket and is judged by its status file."""

    def lines(daemon):
        (daemon.directory / f"{name}.yaml").write_text(
            f"agent_id: {name}\nhttp: {{ port: 0 }}\n"
            f"heartbeat: {{ url: 'unix://{daemon.socket}', interval: 1s }}\n"
            f"state: {{ file: '{daemon.directory}/{name}.ron', refresh: 2s }}\n"
        )
        return [
            f"id: {name}",
            f"binary_path: {BIN}/agent",
            f"config_file: {daemon.directory}/{name}.yaml",
            f"health_check: {{ interval: {INTERVAL:.0f}s, state_file: '{daemon.directory}/{name}.ron', "
            f"state_max_age: {MAX_AGE:.0f}s, heartbeat_timeout: 90s }}",
        ]

    return lines


def sleeper(name, health="heartbeat_timeout: 0"):
    """A process that does nothing, checked every 30 s, which is the default."""
    return lambda _: [f"id: {name}", "binary_path: /bin/sleep", "args: ['1000000']", f"health_check: {{ {health} }}"]


def asked(name, port):
    """A process that does nothing, and an HTTP check of a path of its own every second, without any other check."""
    health = f"http_endpoint: 'http://127.0.0.1:{port}/{name}', interval: 1s, start_grace: 0s"
    return sleeper(name, f"heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0, {health}")


def tree(name):
    """A tree of three processes that do nothing, looked at every 10 s."""
    return lambda _: [
        f"id: {name}",
        "binary_path: /bin/sh",
        "args: ['-c', '/bin/sleep 1000000 & /bin/sleep 1000000 & wait']",
        "health_check: { heartbeat_timeout: 0, interval: 10s }",
    ]


def disabled(name):
    """Registered, but not running."""
    return lambda _: [f"id: {name}", "binary_path: /bin/sleep", "args: ['1000000']", "enabled: false"]
