cimport cython
from fastem.kernels.vectors cimport exponential, natural_log, square_root

@cython.locals(before=double, largest=double, size=double)
cpdef bint proportions(const double[::1] shares, const double[:, :, ::1] covariances, Py_ssize_t n_steps, double[::1] logs, double[:, ::1] common, double[:, :, ::1] parts, double[:, ::1] work) noexcept nogil
@cython.locals(value=double, trace=double, product=double)
cdef double _look_at_volumes(const double[::1] shares, const double[:, :, ::1] covariances, double[::1] logs, double[:, ::1] common, double[:, :, ::1] parts, double[:, ::1] work) noexcept nogil
@cython.locals(log_determinant=double)
cdef double _divide(double[:, ::1] common, double[:, :, ::1] parts) noexcept nogil
@cython.locals(log_determinant=double, pivot=double, total=double)
cdef double _whiten(double[:, ::1] common, double[:, :, ::1] parts) noexcept nogil
@cython.locals(total=double, entry=double, pivot=double)
cdef bint _solve(const double[::1] shares, Py_ssize_t n_features, double[:, ::1] work) noexcept nogil
