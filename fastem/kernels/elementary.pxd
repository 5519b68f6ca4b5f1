from fastem.kernels.vectors cimport vec

cdef vec exp_nonpositive(vec x) noexcept nogil
cdef vec log_positive(vec x) noexcept nogil
