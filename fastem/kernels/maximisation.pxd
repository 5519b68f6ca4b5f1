cimport cython
from fastem.kernels.vectors cimport real, natural_log, square_root

cpdef Py_ssize_t full_parameters(const double[:, ::1] S, double weight, const double[::1] ridge, const double[:, ::1] before, double[:, ::1] work, double[::1] weights, double[:, ::1] means, double[:, ::1] covariances, double[:, ::1] factors) noexcept nogil
@cython.locals(least=double)
cdef double _least_mass(double weight) noexcept nogil
@cython.locals(total=double)
cdef double _total_mass(const double[:, ::1] S, double least) noexcept nogil
@cython.locals(covariance=double)
cdef double _covariance(const double[:, ::1] S, Py_ssize_t k, double mass, const double[::1] ridge, Py_ssize_t i, Py_ssize_t j) noexcept nogil
cdef double _invert_root(const double[:, ::1] S, Py_ssize_t k, double mass, const double[::1] ridge, double[:, ::1] work) noexcept nogil
@cython.locals(total=double)
cdef double _invert(Py_ssize_t n_features, double[:, ::1] work) noexcept nogil
cpdef Py_ssize_t invert_roots(const double[:, :, ::1] covariances, double[:, ::1] work, double[:, ::1] factors) noexcept nogil
cpdef void pack_full(const double[::1] weights, const double[:, ::1] means, const double[:, ::1] factors, real[:, ::1] theta) noexcept nogil
cdef void _pack_tiles(Py_ssize_t n_features, const double[:, ::1] factors, Py_ssize_t row, Py_ssize_t k, real[:, ::1] theta) noexcept nogil
