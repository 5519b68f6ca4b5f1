from fastem.kernels.elementary cimport log_positive
from fastem.kernels.vectors cimport real, vec, fill, lanes, load, broadcast, store, zero, n_vectors, where_less

cdef vec _log_factorial(vec x) noexcept nogil
cdef void poisson_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
