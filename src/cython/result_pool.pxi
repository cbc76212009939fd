# Arrays for results, of which large ones get memory that is kept (csrc/api/result_pool.h): part of _core.pyx.


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
cdef PyDataMem_Handler KEEPING
cdef object KEEPING_HANDLER


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


strcpy(KEEPING.name, "fastloss")
KEEPING.version = 1
KEEPING.allocator = PyDataMemAllocator(NULL, take, take_zeros, resize, give)
KEEPING_HANDLER = PyCapsule_New(&KEEPING, "mem_handler", NULL)


cdef ndarray new_result(int ndim, cnp.npy_intp *lengths, int number):
    cdef Py_ssize_t size = 8 if number == cnp.NPY_FLOAT64 else 4, i
    for i in range(ndim):
        size *= lengths[i]
    if size < FL_POOL_LEAST or PyDataMem_GetHandler() is not DEFAULT_HANDLER:
        return cnp.PyArray_EMPTY(ndim, lengths, number, 0)
    before = PyDataMem_SetHandler(KEEPING_HANDLER)
    try:
        return cnp.PyArray_EMPTY(ndim, lengths, number, 0)
    finally:
        PyDataMem_SetHandler(before)


cpdef ndarray new_array(tuple shape, dtype):
    """Of float32 or float64, and of anything."""
    cdef cnp.npy_intp lengths[FL_MAX_DIMS]
    for i, length in enumerate(shape):
        lengths[i] = length
    return new_result(len(shape), lengths, cnp.NPY_FLOAT64 if dtype is FLOAT64 else cnp.NPY_FLOAT32)


def set_kept_memory(size_t n):
    return fl_pool_limit(n, release)
