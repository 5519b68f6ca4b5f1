from fastem.kernels.vectors cimport real, vec, broadcast, lanes, load, store, zero

cdef void whiten(real[:, ::1] XT, Py_ssize_t b, real[:, ::1] common, Py_ssize_t start, real[:, ::1] scratch) noexcept nogil
