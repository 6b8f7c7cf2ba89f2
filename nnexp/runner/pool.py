"""Where training runs: an `Executor` in this process, in processes of its own, or on a Dask cluster (floor 3)."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any, ParamSpec, TypeVar

from nnexp.errors import NnexpError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

FORMS = "inline, processes, processes:N, dask://HOST:PORT"


class InlineExecutor(Executor):
    """Runs each call in `submit` itself: the same seam with no process, for tests, debugging and single cores."""

    def __init__(self) -> None:
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` now; the future is done when this returns.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # it is the caller's, who meets it in result()
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  the seam's signature
        """Refuse further calls; there is nothing to wait for."""
        self._closed = True


def open_pool(spec: str = "processes", jobs: int | None = None) -> Executor:
    """The executor that ``spec`` names, to be used as a context manager.

    Processes, not threads: most of an epoch is spent inside NumPy without the interpreter lock, but its calls are so
    short (a few µs) that two threads spend their time handing the lock to each other.

    Args:
        spec: ``inline``; ``processes`` or ``processes:N``; ``dask://HOST:PORT``, a running Dask scheduler's address.
        jobs: number of processes where ``spec`` has none; by default the cores that this process may use.

    Raises:
        UsageError: another spec, or N below 1.
        NnexpError: no Dask scheduler answers there, or the extra ``dask`` is not installed.
    """
    kind, _, count = spec.partition(":")
    if spec == "inline":
        return InlineExecutor()
    if kind == "dask" and count.startswith("//"):
        return _dask(count.removeprefix("//"))
    if kind != "processes" or (":" in spec and not count.isdecimal()):
        raise UsageError(f"pool = {spec!r}: expected one of {FORMS}")
    workers = int(count) if count else (jobs if jobs is not None else default_jobs())
    if workers < 1:
        raise UsageError(f"pool = {spec!r}: {workers} processes, expected at least 1")
    return _processes(workers)


def abandon(pool: Executor) -> None:
    """End a pool at once, whatever it is doing: what was in flight is another's to train, or nobody's."""
    processes = list((getattr(pool, "_processes", None) or {}).values())  # 3.14 has kill_workers for this
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def broken(error: BrokenExecutor) -> NnexpError:
    """What a broken pool means to a person."""
    return NnexpError(f"the training pool broke ({str(error) or type(error).__name__}); try again, with fewer --jobs")


def default_jobs() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processes(workers: int) -> Executor:
    """A pool of clean processes: forking one that holds threads (an MLflow client, a progress bar) can deadlock."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["nnexp.training.trainer", "nnexp.recovery.grades"])
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    """Make a pool's process its parent's own: no interrupts of its own, one thread, no life after the parent's."""
    import threadpoolctl

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpoolctl.threadpool_limits(1)
    threading.Thread(target=_die_with_parent, name="nnexp-parent-watch", daemon=True).start()


def _die_with_parent() -> None:
    """Exit when the parent is gone, however it went: the pipe between the two closes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _dask(address: str) -> Executor:
    try:
        import distributed
    except ImportError:
        raise NnexpError(f"pool = 'dask://{address}': Dask is not installed; pip install 'nnexp[dask]'") from None
    try:
        client = distributed.Client(f"tcp://{address}", timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        raise NnexpError(f"pool = 'dask://{address}': no scheduler answers there ({error})") from None
    return _DaskExecutor(client)


class _DaskExecutor(Executor):
    """Dask's own executor, which closes its client with itself.

    A task whose worker is lost runs again on another: Dask sees to that. One that lost its worker several times (by
    Dask's ``allowed-failures``, 3), and one whose scheduler is gone, is what a broken process pool is to its caller.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor: Executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            inner = self._executor.submit(fn, *args, **kwargs)
        except OSError as error:
            raise BrokenExecutor(f"the Dask scheduler is gone: {error}") from error
        outer: Future[T] = Future()
        outer.set_running_or_notify_cancel()
        inner.add_done_callback(lambda done: _pass_on(done, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  Dask cancels unless it waits
        self._executor.shutdown(wait=wait)
        self._client.close()


def _pass_on(inner: Future[T], outer: Future[T]) -> None:
    """Give ``outer`` the result of a finished Dask future, or its exception in the words of `concurrent.futures`."""
    from distributed import KilledWorker

    try:
        outer.set_result(inner.result())
    except (KilledWorker, CancelledError) as error:
        broken = BrokenExecutor(f"the Dask cluster gave a task up: {error}")
        broken.__cause__ = error
        outer.set_exception(broken)
    except Exception as error:  # the task's own, which the caller meets in result()
        outer.set_exception(error)
