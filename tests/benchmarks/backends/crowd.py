"""Clients at work at the same time."""

import multiprocessing
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

_FORK = multiprocessing.get_context("fork")


def at_once(leader, others, in_one_process):
    """Runs leader(stop) and each of others(stop) at the same time, each in a process of its own, and returns their
    results, the leader's first. `stop` is an Event, set as soon as the leader has returned.

    `in_one_process`: as threads of one new process, for a database that only one process can open.
    Raises RuntimeError with the traceback of a client that failed.
    """
    if in_one_process:
        return _result(_forked(lambda: _as_threads(leader, others)))
    stop, ready = _FORK.Event(), _FORK.Barrier(1 + len(others))
    clients = [_forked(lambda role=role: _with_the_others(role, stop, ready)) for role in others]
    clients = [_forked(lambda: _leading(leader, stop, ready)), *clients]
    return [_result(client) for client in clients]


def _as_threads(leader, others):
    stop, ready = threading.Event(), threading.Barrier(1 + len(others))
    with ThreadPoolExecutor(1 + len(others)) as threads:
        clients = [threads.submit(_leading, leader, stop, ready)]
        clients += [threads.submit(_with_the_others, role, stop, ready) for role in others]
        return [client.result() for client in clients]


def _with_the_others(role, stop, ready):
    ready.wait()
    return role(stop)


def _leading(leader, stop, ready):
    try:
        return _with_the_others(leader, stop, ready)
    finally:
        stop.set()


def _forked(role):
    receiving, sending = _FORK.Pipe(duplex=False)

    def run():
        try:
            sending.send((role(), None))
        except BaseException:
            sending.send((None, traceback.format_exc()))

    process = _FORK.Process(target=run, daemon=True)
    process.start()
    sending.close()
    return process, receiving


def _result(client):
    process, receiving = client
    result, failure = receiving.recv()
    process.join()
    if failure:
        raise RuntimeError(failure)
    return result
