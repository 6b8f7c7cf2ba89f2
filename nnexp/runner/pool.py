"""The training pool: an `Executor` in this process, in processes of its own, or on a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from multiprocessing import forkserver, resource_tracker, util
from typing import Any, NoReturn, ParamSpec, TypeVar

from nnexp.errors import NnexpError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that `exit_at_once` takes at most.
CLEAN_UP_LIMIT = 0.5

_FORMS = "inline, processes, processes:N, dask://HOST:PORT"


class InlineExecutor(Executor):
    """Runs each call within `submit`: the same interface without processes, for tests, debugging and single cores."""

    def __init__(self) -> None:
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` now; the returned future is done.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # raised again by result()
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  the interface's signature
        """Refuse further calls. There is nothing to wait for."""
        self._closed = True


def open_pool(spec: str = "processes", jobs: int | None = None) -> Executor:
    """The executor that ``spec`` names; use it as a context manager.

    It has processes, not threads. Most of an epoch is spent inside NumPy without the interpreter lock, but its calls
    are so short (a few µs) that two threads would spend their time passing the lock to each other.

    Args:
        spec: ``inline``; ``processes`` or ``processes:N``; ``dask://HOST:PORT``, a running Dask scheduler.
        jobs: number of processes if ``spec`` has none; by default one per core that this process may use.

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
        raise UsageError(f"pool = {spec!r}: expected one of {_FORMS}")
    workers = int(count) if count else (jobs if jobs is not None else default_jobs())
    if workers < 1:
        raise UsageError(f"pool = {spec!r}: {workers} processes, expected at least 1")
    return _processes(workers)


def abandon(pool: Executor) -> None:
    """End a pool at once, with all its tasks; the caller hands back the trials in training."""
    processes = list((getattr(pool, "_processes", None) or {}).values())  # Python 3.14 has kill_workers
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def broken(error: BrokenExecutor) -> NnexpError:
    """The error for the user of a broken pool."""
    return NnexpError(f"the training pool broke ({str(error) or type(error).__name__}); try again, with fewer --jobs")


def default_jobs() -> int:
    """The number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processes(workers: int) -> Executor:
    """A pool of new processes: a fork of this one can deadlock, as it has threads (MLflow's, the progress bar's)."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["nnexp.training.trainer", "nnexp.recovery.grades"])
        _start_fork_server()
    return concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare_worker, initargs=(_own_directory(),)
    )


def _start_fork_server() -> None:
    """Start the process that forks the pool's, unless it runs, with SIGINT blocked, which all of them inherit.

    A terminal's Ctrl-C reaches all processes of the group. It is this process that acts on it; the others would print
    the traceback of a KeyboardInterrupt wherever they are, while they import NumPy for instance.
    """
    resource_tracker.ensure_running()  # first, since it unblocks SIGINT when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_directory() -> str | None:
    """This process's temporary directory, with the fork server's socket; None if it uses that of its parent."""
    config: dict[str, str] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    return config.get("tempdir") if multiprocessing.parent_process() is None else None


def _prepare_worker(directory: str | None) -> None:
    """Set up a process of the pool: SIGINT is left to the parent, BLAS has one thread, the parent's exit ends it.

    Args:
        directory: the parent's `_own_directory`.
    """
    from nnexp.training import blas

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no fork server
    blas.use_one_thread()
    threading.Thread(target=_exit_with_parent, args=(directory,), name="nnexp-parent", daemon=True).start()


def _exit_with_parent(directory: str | None) -> None:
    """Exit when the parent process has ended, even by SIGKILL: the pipe between the two closes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _remove(directory)  # after SIGKILL the parent cannot
        os._exit(1)


def exit_at_once(status: int) -> NoReturn:
    """End this process without the exit handlers of the libraries, which may wait for a store or for a thread.

    The pool's processes, their semaphores and their temporary directory are removed.
    """
    cleaner = threading.Thread(target=_clean_up, name="nnexp-clean-up", daemon=True)
    cleaner.start()
    cleaner.join(CLEAN_UP_LIMIT)
    os._exit(status)


def _clean_up() -> None:
    for process in multiprocessing.active_children():
        process.kill()
    util._run_finalizers(0)  # type: ignore[attr-defined]  # those of semaphores, which else are reported as leaked
    _remove(_own_directory())


def _remove(directory: str | None) -> None:
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


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
    """Dask's own executor, which also closes the client.

    Dask runs a task again on another worker if its worker is lost. A task that lost more than 3 workers (Dask's setting
    ``allowed-failures``), or that lost the scheduler, raises `BrokenExecutor`, as a broken process pool does.
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
        inner.add_done_callback(lambda done: _copy_result(done, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  Dask cancels unless it waits
        self._executor.shutdown(wait=wait)
        self._client.close()


def _copy_result(inner: Future[T], outer: Future[T]) -> None:
    """Set ``outer`` to the result of a finished Dask future, or to its exception as `concurrent.futures` names it."""
    from distributed import KilledWorker

    try:
        outer.set_result(inner.result())
    except (KilledWorker, CancelledError) as error:
        failure = BrokenExecutor(f"the Dask cluster gave up a task: {error}")
        failure.__cause__ = error
        outer.set_exception(failure)
    except Exception as error:  # the task's own, raised again by result()
        outer.set_exception(error)
