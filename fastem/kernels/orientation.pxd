cimport cython
from fastem.kernels.vectors cimport exponential, natural_log, square_root

cpdef bint common_axes(const double[::1] shares, const double[:, :, ::1] covariances, bint one_volume, Py_ssize_t n_starts, Py_ssize_t n_trial, Py_ssize_t n_sweeps, double[:, :, ::1] axes, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
@cython.locals(cost=double, before=double, turned=double)
cdef double _turn(const double[::1] shares, const double[:, :, ::1] covariances, bint one_volume, Py_ssize_t n_sweeps, Py_ssize_t t, double[:, :, ::1] axes, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
@cython.locals(total=double, part=double, smallest=double, largest=double)
cdef bint _look_along(const double[:, :, ::1] covariances, Py_ssize_t t, double[:, :, ::1] axes, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
@cython.locals(total=double)
cdef double _weigh(const double[::1] shares, bint one_volume, Py_ssize_t n_features, double[:, ::1] work) noexcept nogil
@cython.locals(slope=double, bend=double, bound=double)
cdef double _turn_plane(const double[::1] shares, bint one_volume, Py_ssize_t p, Py_ssize_t q, Py_ssize_t t, double[:, :, ::1] axes, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
@cython.locals(total=double)
cdef double _change(const double[::1] shares, bint one_volume, Py_ssize_t n_features, Py_ssize_t p, Py_ssize_t q, double tangent, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
cdef void _rotate(Py_ssize_t n_features, Py_ssize_t p, Py_ssize_t q, Py_ssize_t t, double tangent, double[:, :, ::1] axes, double[:, :, ::1] seen, double[:, ::1] work) noexcept nogil
