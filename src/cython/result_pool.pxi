# Arrays for results, of which large ones get memory of results that were freed (csrc/memory/result_pool.c): part
# of _core.pyx.


cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t count, size_t size) noexcept nogil
        void *(*realloc)(void *ctx, void *block, size_t size) noexcept nogil
        void (*free)(void *ctx, void *block, size_t size) noexcept nogil

    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator

    PyObject *PyDataMem_DefaultHandler
    object PyDataMem_GetHandler()
    object PyDataMem_SetHandler(object handler)


# NumPy's own allocator, which gives the blocks and gets them back in the end.
cdef object DEFAULT_HANDLER = <object>PyDataMem_DefaultHandler
cdef PyDataMemAllocator *ALLOCATOR = &(<PyDataMem_Handler *>PyCapsule_GetPointer(
    DEFAULT_HANDLER, "mem_handler")).allocator
cdef PyDataMem_Handler POOL
cdef object POOL_HANDLER


cdef void release(void *block, size_t size) noexcept nogil:
    ALLOCATOR.free(ALLOCATOR.ctx, block, size)


cdef void *take(void *ctx, size_t size) noexcept nogil:
    cdef void *block = fl_pool_take(size)
    if block == NULL:
        block = ALLOCATOR.malloc(ALLOCATOR.ctx, size)
    if block == NULL:  # for want of what is kept, maybe
        fl_pool_limit(fl_pool_limit(0, release), release)
        block = ALLOCATOR.malloc(ALLOCATOR.ctx, size)
    return block


cdef void *take_zeros(void *ctx, size_t count, size_t size) noexcept nogil:
    return ALLOCATOR.calloc(ALLOCATOR.ctx, count, size)


cdef void *resize(void *ctx, void *block, size_t size) noexcept nogil:
    return ALLOCATOR.realloc(ALLOCATOR.ctx, block, size)


cdef void give(void *ctx, void *block, size_t size) noexcept nogil:
    if block != NULL:
        fl_pool_give(block, size, release)


strcpy(POOL.name, "fastloss")
POOL.version = 1
POOL.allocator = PyDataMemAllocator(NULL, take, take_zeros, resize, give)
POOL_HANDLER = PyCapsule_New(&POOL, "mem_handler", NULL)


cdef ndarray new_result(int ndim, cnp.npy_intp *lengths, int number):
    """A new array of float32 or float64, whose memory is that of a freed result of its size where there is one."""
    cdef Py_ssize_t size = 8 if number == cnp.NPY_FLOAT64 else 4, i
    for i in range(ndim):
        size *= lengths[i]
    if size < FL_POOL_LEAST or PyDataMem_GetHandler() is not DEFAULT_HANDLER:
        return cnp.PyArray_EMPTY(ndim, lengths, number, 0)
    before = PyDataMem_SetHandler(POOL_HANDLER)
    try:
        return cnp.PyArray_EMPTY(ndim, lengths, number, 0)
    finally:
        PyDataMem_SetHandler(before)


cdef ndarray new_results(tuple shape, int number):
    """A new array of any shape for results of a call."""
    cdef cnp.npy_intp lengths[FL_MAX_DIMS]
    cdef int i = 0
    for length in shape:
        lengths[i] = length
        i += 1
    return new_result(i, lengths, number)


def new_array(tuple shape, dtype):
    """A new array of float32 or float64; what it holds is undefined."""
    return new_results(shape, cnp.NPY_FLOAT64 if dtype == FLOAT64 else cnp.NPY_FLOAT32)


def set_kept_memory(size_t n):
    """Set how many bytes of freed results are kept; returns the number before."""
    return fl_pool_limit(n, release)
