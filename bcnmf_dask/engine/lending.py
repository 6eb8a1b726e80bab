"""Whether clusters may still read what this process has sent them."""

from distributed import Client, Status, Worker


def clusters_read() -> bool:
    """Whether a client of this process wants anything of its cluster, or this process computes for others.

    A cluster keeps tasks, and what they read, no longer than a client holds their futures.
    """
    wanted = any(client.futures for client in list(Client._instances))
    return wanted or any(worker.status is not Status.closed for worker in list(Worker._instances))
