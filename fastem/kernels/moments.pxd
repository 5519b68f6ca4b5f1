from fastem.kernels.scatter cimport few_features, is_dense, outermost_vector, rows_to_panels, scatter_panels, scatter_vectors
from fastem.kernels.shortlist cimport listed, n_listed
from fastem.kernels.vectors cimport real, vec, add_lane_sums, broadcast, in_register, is_double, lane_sum, lanes, load, n_vectors, store, wide, zero

cdef inline vec _mass(Py_ssize_t n_rows, real[:, ::1] r, Py_ssize_t k) noexcept nogil
cdef void first_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef void diag_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _square_features(real[:, ::1] XT, Py_ssize_t n_features, Py_ssize_t n_rows, real[:, ::1] scratch) noexcept nogil
cdef inline bint _is_near(real[:, ::1] XT, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i) noexcept nogil
cdef inline void _four_from_squares(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t first, Py_ssize_t k, Py_ssize_t i, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _two_from_squares(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t first, Py_ssize_t k, Py_ssize_t other, Py_ssize_t i, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef inline void _add_about_mean(Py_ssize_t n_features, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, vec masses, vec f0, vec f1, vec f2, vec f3, vec s0, vec s1, vec s2, vec s3, double[:, ::1] S) noexcept nogil
cdef inline void _four_features(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, double[:, ::1] S) noexcept nogil
cdef inline void _one_feature(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, double[:, ::1] S) noexcept nogil
cdef void full_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
