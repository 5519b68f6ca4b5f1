cimport cython
from fastem.kernels.maximisation cimport _covariance, _invert, _least_mass, _pack_tiles, _total_mass
from fastem.kernels.orientation cimport _look_along, common_axes
from fastem.kernels.proportions cimport proportions
from fastem.kernels.vectors cimport exponential, natural_log, real, square_root

ctypedef Py_ssize_t (*update_t)(const Py_ssize_t[::1] letters, Py_ssize_t step, double[:, ::1] S, const double[:, ::1] shared, double weight, const double[::1] ridge, const real[:, ::1] before, double[:, ::1] work, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table, real[:, ::1] theta, real[:, ::1] common) noexcept nogil

@cython.locals(shares=double[::1], covariances=double[:, :, ::1], seen=double[:, :, ::1])
cpdef Py_ssize_t impose_structure(const Py_ssize_t[::1] letters, Py_ssize_t step, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table) noexcept nogil
@cython.locals(log_determinant=double)
cdef Py_ssize_t structured_update(const Py_ssize_t[::1] letters, Py_ssize_t step, double[:, ::1] S, const double[:, ::1] shared, double weight, const double[::1] ridge, const real[:, ::1] before, double[:, ::1] work, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table, real[:, ::1] theta, real[:, ::1] common) noexcept nogil
@cython.locals(along=double)
cdef Py_ssize_t tied_update(const Py_ssize_t[::1] letters, Py_ssize_t step, double[:, ::1] S, const double[:, ::1] shared, double weight, const double[::1] ridge, const real[:, ::1] before, double[:, ::1] work, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table, real[:, ::1] theta, real[:, ::1] common) noexcept nogil
cdef void _pack_shared_tiles(Py_ssize_t n_features, const double[:, ::1] work, real[:, ::1] common) noexcept nogil
@cython.locals(mean=double)
cdef Py_ssize_t _impose_along_axes(const Py_ssize_t[::1] letters, double[:, :, :, ::1] thin, double[:, ::1] table) noexcept nogil
@cython.locals(mean=double, log_volume=double)
cdef Py_ssize_t _impose_one_volume(double[:, :, :, ::1] thin, double[:, ::1] table) noexcept nogil
@cython.locals(mean=double, covariances=double[:, :, ::1], common=double[:, ::1])
cdef Py_ssize_t _impose_one_shape(double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table) noexcept nogil
cdef void _copy_upper(const double[:, :, ::1] covariances, Py_ssize_t k, double[:, :, ::1] to) noexcept nogil
cdef void _pool(const double[:, :, ::1] covariances, const double[::1] shares, double[:, ::1] to) noexcept nogil
@cython.locals(largest=double)
cdef void _keep_variances(Py_ssize_t k, const double[:, ::1] seen, double[:, :, :, ::1] thin) noexcept nogil
@cython.locals(total=double)
cdef void _compose(Py_ssize_t k, const double[:, ::1] axes, const double[:, :, :, ::1] thin, double[:, :, ::1] covariances) noexcept nogil
cdef void _diagonalise(double[:, ::1] seen, double[:, ::1] axes) noexcept nogil
@cython.locals(tangent=double)
cdef void _rotate_plane(Py_ssize_t p, Py_ssize_t q, double[:, ::1] seen, double[:, ::1] axes) noexcept nogil
