from fastem.kernels.vectors cimport vec

cdef inline vec exp_nonpositive(vec x) noexcept nogil
cdef inline vec log_positive(vec x) noexcept nogil
