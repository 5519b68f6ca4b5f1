from fastem.kernels.vectors cimport real, vec, lane_sum, lanes, load, splat, store, zero, n_vectors

cdef real _mass(Py_ssize_t n_rows, real[:, ::1] r, Py_ssize_t k) noexcept nogil
cdef void _add_second(double[:, ::1] S, Py_ssize_t k, Py_ssize_t n_features, Py_ssize_t i, Py_ssize_t j, vec second) noexcept nogil
cdef void first_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef void diag_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
cdef void full_moments(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] r, real[:, ::1] theta, real[:, ::1] scratch, double[:, ::1] S) noexcept nogil
