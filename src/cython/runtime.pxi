# SIMD levels, threads and the names of the losses: what Python asks of the C core. Part of _core.pyx.


def select_level(wanted=None):
    """Choose the SIMD level, by name or the best one; raise ImportError if it cannot be.

    "x86-64-v3" is "v3", and "baseline" the lowest level.
    """
    cdef bytes name
    cdef const char *error
    if wanted:
        level_name = wanted.lower().removeprefix("x86-64-")
        name = (supported_levels().pop() if level_name == "baseline" else level_name).encode()
        error = fl_select_level(name)
    else:
        error = fl_select_level(NULL)
    if error != NULL:
        raise ImportError(
            f"FASTLOSS_ISA={wanted} {error.decode()}; this machine has "
            f"{', '.join(supported_levels()) or 'none of the levels that fastloss was built for'}"
        )


def level():
    """The name of the SIMD level that is in use."""
    return fl_level().decode()


def supported_levels():
    """The SIMD levels that this machine can run, best first."""
    names = []
    while fl_supported_level(len(names)) != NULL:
        names.append(fl_supported_level(len(names)).decode())
    return names


def openmp():
    """The version of OpenMP, or "none"."""
    return fl_openmp().decode()


def num_threads():
    """The number of threads that a large call of this thread may use."""
    return fl_num_threads()


def set_num_threads(int n):
    """Set the number of threads of the process."""
    fl_set_num_threads(n)


def set_cpu_limit(int n):
    """Set how many CPUs control groups grant to the process."""
    fl_set_cpu_limit(n)


def set_grain(int microseconds):
    """For tests: 0 lets every call of some blocks use the team; -1 is the usual grain."""
    fl_set_grain(microseconds)


def thread_limit():
    """The number of threads that calls of the calling thread are limited to; 0 is no limit."""
    return fl_thread_limit()


def set_thread_limit(int n):
    """Limit the calls of the calling thread to so many threads; 0 is no limit."""
    fl_set_thread_limit(n)


def loss_names():
    """The names in the C registry, in its order."""
    return [fl_loss_name(i).decode() for i in range(<int>FL_N_LOSSES)]


def row_loss_names():
    """The names in the C registry of losses of rows, in its order."""
    return [fl_row_loss_name(i).decode() for i in range(<int>FL_N_ROW_LOSSES)]


# ---- interruption -------------------------------------------------------------------------------------


cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals"() noexcept  # an exception stays set
    unsigned long this_thread "PyThread_get_thread_ident"() noexcept nogil

cdef unsigned long main_thread


def set_main_thread(unsigned long identifier):
    """Set which thread Python runs the handlers of signals on."""
    global main_thread
    main_thread = identifier


cdef int interrupted() noexcept nogil:
    """Whether a signal's handler, such as that of Ctrl-C, has raised.

    Handlers run on the main thread alone. Another one must not ask: while the process ends, Python answers a daemon
    thread that wants the GIL by ending it, amid C, while the libraries that unwind its stack are being closed.
    """
    if this_thread() != main_thread:
        return 0
    with gil:
        return check_signals() != 0


cdef int raise_pending() except? -1:
    """Raise the exception that `interrupted` has left set, if there is one: after -1 Cython looks for it."""
    return -1
